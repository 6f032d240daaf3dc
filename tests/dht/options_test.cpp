#include "skep/dht/options.hpp"

#include <doctest/doctest.h>

using namespace skep;

TEST_CASE("A3.8 H-5 a store is true for a majority of the replicas") {
  CHECK(dht::StoreResult{.accepted = 3, .rejected = 2});
  CHECK_FALSE(dht::StoreResult{.accepted = 2, .rejected = 2});
  CHECK_FALSE(dht::StoreResult{.accepted = 1, .failed = 1});
  CHECK_FALSE(dht::StoreResult{});
}

TEST_CASE("A2 options have the names and defaults of DHTNode.create") {
  const dht::NodeOptions o;
  CHECK(o.bucket_size == 20);
  CHECK(o.num_replicas == 5);
  CHECK(o.depth_modulo == 5);
  CHECK(o.num_workers == 4);
  CHECK(o.chunk_size == 16);
  CHECK(o.wait_timeout == 3s);
  CHECK(o.blacklist_time == 5s);
  CHECK(o.backoff_rate == 2.0);
  CHECK(o.initial_peers.empty());
  CHECK_FALSE(o.node_id);
  CHECK_FALSE(o.parallel_rpc);
  CHECK_FALSE(o.refresh_timeout);
  CHECK_FALSE(o.bootstrap_timeout);
  CHECK(o.cache_locally);
  CHECK(o.cache_nearest == 1);
  CHECK(o.cache_size == 10'000);  // Hivemind's cache has no bound
  CHECK(o.cache_refresh_before_expiry == 5s);
  CHECK(o.cache_on_store);
  CHECK(o.reuse_get_requests);
  CHECK_FALSE(o.client_mode);
  CHECK_FALSE(o.authorizer);
  CHECK(o.ensure_bootstrap_success);
  CHECK(o.strict);
}

TEST_CASE("A6.5 items of a dictionary are found by their subkey") {
  dht::Found found{{}, {10}, true, {{1, "a", {10}}, {"1", "b", {10}}}};
  CHECK(found.find(1)->value == codec::msgpack::Value("a"));
  CHECK(found.find("1")->value == codec::msgpack::Value("b"));
  CHECK_FALSE(found.find(2));
}
