// What cannot be joined and split is no batch.
// expect: does not satisfy 'Batchable'
#include "skep/moe/task_pool.hpp"

#ifdef WRONG
using Argument = int;
#else
using Argument = std::vector<int>;
#endif
inline void use() { skep::moe::TaskPool<Argument (*)(Argument), Argument> pool(nullptr, {.max_batch_size = 256}); }
