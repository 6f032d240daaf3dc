// The batch type is read from the function; a generic one hides it and is told so in one sentence.
// expect: skep: a TaskPool's function takes one batch; write the type of its parameter, not auto
#include "skep/moe/task_pool.hpp"

inline void use() {
#ifdef WRONG
  skep::moe::TaskPool pool([](auto rows) { return rows; }, {.max_batch_size = 256});
#else
  skep::moe::TaskPool pool([](std::vector<int> rows) { return rows; }, {.max_batch_size = 256});
#endif
}
