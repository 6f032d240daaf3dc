#include "skep/dht/options.hpp"

#include <doctest/doctest.h>

using namespace skep;

TEST_CASE("a store is true for a majority of the replicas") {
  CHECK(dht::StoreResult{.accepted = 3, .rejected = 2});
  CHECK_FALSE(dht::StoreResult{.accepted = 2, .rejected = 2});
  CHECK_FALSE(dht::StoreResult{.accepted = 1, .failed = 1});
  CHECK_FALSE(dht::StoreResult{});
}

TEST_CASE("defaults are Hivemind's") {
  const dht::NodeOptions o;
  CHECK(o.bucket_size == 20);
  CHECK(o.num_replicas == 5);
  CHECK(o.depth_modulo == 5);
  CHECK(o.num_workers == 4);
  CHECK(o.chunk_size == 16);
  CHECK(o.wait_timeout == 3s);
  CHECK(o.blacklist_time == 5s);
  CHECK(o.backoff_rate == 2.0);
}

TEST_CASE("items of a dictionary are found by their subkey") {
  dht::Found found{{}, {10}, true, {{1, "a", {10}}, {"1", "b", {10}}}};
  CHECK(found.find(1)->value == codec::msgpack::Value("a"));
  CHECK(found.find("1")->value == codec::msgpack::Value("b"));
  CHECK_FALSE(found.find(2));
}
