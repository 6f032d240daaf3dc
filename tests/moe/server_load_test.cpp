#include "skep/moe/server_load.hpp"

#include <limits>

#include "support/experts.hpp"
// doctest comes last
#include <doctest/doctest.h>

using namespace skep;
using codec::msgpack::Array;
using codec::msgpack::Value;
using moe::ServerLoad;
using test::peer;

TEST_CASE("H-25: a server tells its load once in every dictionary that holds its experts, never under a uid") {
  const ServerLoad load{peer(7), 250ms};
  const auto records = moe::load_records({"ffn.1.2", "ffn.1.3", "ffn.2.0", "flat.4", "deep.1.2.3"}, load, {100});
  std::set<std::string> keys;
  for (const auto& record : records) {
    keys.insert(*record.key.get_if<std::string>());
    REQUIRE(record.subkey);  // text: Hivemind takes integers only
    CHECK(*record.subkey->get_if<std::string>() == "load:" + peer(7).to_string());
    CHECK(record.value == Value(Array{0.25}));
    CHECK(record.expiration == WallTime{100});
  }
  CHECK(keys == std::set<std::string>{"deep.1.2.", "ffn.1.", "ffn.2.", "flat.4."});
  CHECK(records.size() == 4);
  CHECK_THROWS_AS((void)moe::load_records({"no uid"}, load, {100}), Error);
}

TEST_CASE("a load is read back, anything else in a dictionary is none") {
  const std::string subkey = "load:" + peer(7).to_string();
  const auto read = [](Value name, Value value) {
    return moe::load_of_item({std::move(name), std::move(value), WallTime{100}});
  };
  CHECK(read(subkey, Array{0.25}) == ServerLoad{peer(7), 250ms});
  CHECK(read(subkey, Array{0.25, "what later versions add"}) == ServerLoad{peer(7), 250ms});
  CHECK_FALSE(read(3, Array{0.25}));
  CHECK_FALSE(read("missing", Value()));
  CHECK_FALSE(read("load:nobody", Array{0.25}));
  CHECK_FALSE(read("load:", Array{0.25}));
  CHECK_FALSE(read(subkey, 0.25));
  CHECK_FALSE(read(subkey, Array{}));
  CHECK_FALSE(read(subkey, Array{"soon"}));
  for (const double seconds : {-1.0, 1e9, std::numeric_limits<double>::quiet_NaN()}) {
    CHECK_FALSE(read(subkey, Array{seconds}));
  }
}

TEST_CASE("H-25: a server's load is what requests took since it was told last") {
  const moe::PoolStatistics before{.batches = 10, .tasks = 100, .waited = 5s, .computed = 2s};
  moe::PoolStatistics after = before;
  CHECK(moe::recent_wait(before, after) == 0s);
  after.batches += 2;
  after.tasks += 10;
  after.waited += 1s;
  after.computed += 100ms;
  CHECK(moe::recent_wait(before, after) == 150ms);
}
