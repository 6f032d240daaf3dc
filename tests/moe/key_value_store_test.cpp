#include "skep/moe/key_value_store.hpp"

#include "support/experts.hpp"
// doctest comes last
#include <doctest/doctest.h>

using namespace skep;

namespace {

struct Everything : test::Table {
  SteadyTime steady_now() const { return {}; }
  void spawn(awaitable<void>) {}
  moe::PrefixRecords get_known(const std::vector<std::string>& prefixes) { return moe::PrefixRecords(prefixes.size()); }
  void mark_missing(std::vector<std::string>, Duration) {}
  const std::shared_ptr<moe::ExpectedDelays>& delays() const { return known; }
  std::shared_ptr<moe::ExpectedDelays> known;
};

}  // namespace

TEST_CASE("a store only has to find, what else it can is seen from its members") {
  using test::Table;
  static_assert(moe::KeyValueStore<Table> && !moe::TimedStore<Table> && !moe::BackgroundStore<Table>);
  static_assert(!moe::RememberingStore<Table> && !moe::MarkingStore<Table> && !moe::DelayStore<Table>);
  static_assert(moe::KeyValueStore<Everything> && moe::TimedStore<Everything> && moe::BackgroundStore<Everything>);
  static_assert(moe::RememberingStore<Everything> && moe::MarkingStore<Everything> && moe::DelayStore<Everything>);
}
