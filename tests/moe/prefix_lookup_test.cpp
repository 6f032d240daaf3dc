#include "skep/moe/prefix_lookup.hpp"

#include "support/coroutine.hpp"
#include "support/experts.hpp"
// doctest comes last
#include <doctest/doctest.h>

using namespace skep;
using namespace std::chrono_literals;
using moe::LookupOptions;
using skep::test::Table;

namespace {

/// A table with a clock that stands still unless it is set; it says under which prefixes it was told that nothing is.
struct TimedTable : Table {
  [[nodiscard]] SteadyTime steady_now() const { return now; }
  void mark_missing(std::vector<std::string> prefixes, Duration) {
    for (auto& prefix : prefixes) marked.push_back(std::move(prefix));
  }
  SteadyTime now{};
  std::vector<std::string> marked;
};

template <class Store>
auto lookup_in(Store& store, LookupOptions options = {}) {
  return std::make_shared<moe::PrefixLookup<Store&>>(store, options);
}

}  // namespace

CO_TEST_CASE("prefixes are read in one get_many, in their order, null where there is nothing") {
  Table table;
  table.declare("ffn.3.5");
  table.declare("ffn.3.7");
  const auto lookup = lookup_in(table);
  const auto found = co_await lookup->look_up(lookup, {"ffn.2.", "ffn.3."});
  CHECK(table.calls == 1);
  REQUIRE(found.size() == 2);
  CHECK(found[0] == nullptr);
  REQUIRE(found[1]);
  CHECK(found[1]->size() == 2);
  CHECK(lookup->cached()->size() == 0);  // nothing is kept unless asked for
}

CO_TEST_CASE(
    "B6.12 what was found and what was missing are kept for their own times, and only a key that is absent is told to "
    "the store") {
  TimedTable table;
  table.declare("ffn.3.5");
  table.records["ffn.1."] = {};  // a dictionary without an expert, such as an earlier note: it is not renewed
  const auto lookup = lookup_in(table, {.cache_time = 5s, .missing_cache_time = 1s, .mark_missing = 300s});
  (void)co_await lookup->look_up(lookup, {"ffn.1.", "ffn.2.", "ffn.3."});
  CHECK(table.marked == std::vector<std::string>{"ffn.2."});
  CHECK(lookup->cached()->size() == 3);
  CHECK(lookup->now() == table.now);
}

CO_TEST_CASE("a look-up whose time is over before it begins asks nobody") {
  TimedTable table;
  const auto lookup = lookup_in(table);
  const auto found = co_await lookup->look_up_until(lookup, {"ffn.3."}, SteadyTime{});
  CHECK_FALSE(found);
  CHECK(table.calls == 0);
  const auto without_end = co_await lookup->look_up_until(lookup, {"ffn.3."}, SteadyTime::max());
  REQUIRE(without_end);
  CHECK(table.calls == 1);
}

namespace {

struct Forgetful {
  awaitable<moe::PrefixRecords> get_many(std::vector<std::string>) { co_return moe::PrefixRecords(1); }
};

}  // namespace

CO_TEST_CASE("a store that does not answer every key is told so") {
  Forgetful store;
  const auto lookup = lookup_in(store);
  std::string words;
  try {
    (void)co_await lookup->look_up(lookup, {"a.", "b."});
  } catch (const Error& error) {
    words = error.what();
  }
  CHECK(words == "skep: a key-value store answered 1 of 2 keys; get_many returns one entry per key");
  CHECK(lookup->at_hand({"a.", "b."}) == moe::FoundSuccessors(2));
}
