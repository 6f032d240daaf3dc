// A store that answers at once instead of being awaited cannot stand behind a beam searcher.
// expect: constraints not satisfied for class template 'MoEBeamSearcher'
// expect: does not satisfy 'KeyValueStore'
#include "skep/moe/beam_search.hpp"

struct Table {
#ifdef WRONG
  skep::moe::PrefixRecords get_many(std::vector<std::string>) { return {}; }
#else
  skep::awaitable<skep::moe::PrefixRecords> get_many(std::vector<std::string>) { co_return skep::moe::PrefixRecords{}; }
#endif
};
static_assert(sizeof(skep::moe::MoEBeamSearcher<Table>) > 0);
