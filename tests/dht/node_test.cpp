#include "skep/dht/node.hpp"

#include <string>

#include <doctest/doctest.h>
#include "dht/swarm.hpp"
#include "skep/sim/network.hpp"

using namespace skep;
using codec::msgpack::Value;
using dht::StoreResult;
using skep_test::Node;
using skep_test::Swarm;

TEST_CASE("A3.17 what one node stores every other finds, and what nobody stored nobody") {
  Swarm swarm(24);
  for (int i = 0; i < 30; ++i) {
    const auto stored = swarm.run(swarm.any().store("key" + std::to_string(i), i, swarm.in(60)));
    CHECK(stored == StoreResult{.accepted = 5});
  }
  for (int i = 0; i < 30; ++i) {
    const auto found = swarm.run(swarm.any().get("key" + std::to_string(i)));
    REQUIRE(found);
    CHECK(found->value == Value(i));
    CHECK_FALSE(found->is_dictionary);
  }
  CHECK_FALSE(swarm.run(swarm.any().get("no such key")));
  swarm.world.time().run_for(120s);
  CHECK_FALSE(swarm.run(swarm.any().get("key1")));
}

TEST_CASE("A3.4 A3.11 a node alone") {
  Swarm swarm(1);
  Node& node = swarm.nodes[0];
  CHECK(swarm.run(node.store("k", "v", swarm.in(10))) == StoreResult{.accepted = 1});
  CHECK(swarm.run(node.get("k"))->value == Value("v"));
  CHECK_FALSE(swarm.run(node.store("other", "v", swarm.in(10), {.exclude_self = true})));
  CHECK_FALSE(swarm.run(node.store("late", "v", swarm.in(-1))));
  CHECK_FALSE(swarm.run(node.get("late")));
  CHECK(swarm.run(node.find_nearest(dht::key_id("x"))).size() == 1);
  CHECK(swarm.run(node.find_nearest(dht::key_id("x"), {.exclude_self = true})).empty());  // A3.4
}

TEST_CASE("no call outlives its deadline") {
  Swarm swarm(16);
  for (std::size_t i = 1; i < swarm.nodes.size(); ++i) swarm.kill(swarm.nodes[i]);
  const auto start = swarm.world.time().now();
  CHECK_FALSE(swarm.run(swarm.nodes[0].get("k", {.timeout = 700ms})));
  CHECK(swarm.world.time().now() - start <= 700ms);
  const auto stored = swarm.run(swarm.nodes[0].store("k", 1, swarm.in(60), {.timeout = 500ms}));
  CHECK(swarm.world.time().now() - start <= 1200ms);
  CHECK(stored.failed > 0);
  CHECK_FALSE(stored);
}

TEST_CASE("A4.10 a newcomer gets the records that are now its, and they are found through it") {
  Swarm swarm(8);
  for (int i = 0; i < 40; ++i) CHECK(swarm.run(swarm.any().store(i, i, swarm.in(3600))));
  CHECK(swarm.run(swarm.any().store_subkey("d", 1, 1, swarm.in(3600))));
  std::size_t handed = 0;
  for (int i = 0; i < 8; ++i) {
    Node& newcomer = swarm.add();
    swarm.world.time().run_for(5s);
    handed += newcomer.record_count();
  }
  CHECK(handed > 40);
  for (std::size_t i = 0; i < 8; ++i) swarm.kill(swarm.nodes[i]);
  std::size_t found = 0;
  for (int i = 0; i < 40; ++i) found += swarm.run(swarm.nodes[8 + swarm.world.random().below(8)].get(i)).has_value();
  CHECK(found >= 38);
}

TEST_CASE("A2.5 a closed node says so, and calls that run end") {
  Swarm swarm(8);
  Node& node = swarm.nodes[2];
  for (std::size_t i = 0; i < 8; ++i) {
    if (i != 2) swarm.kill(swarm.nodes[i]);
  }
  Scope scope(swarm.world.time().executor());
  scope.spawn([&]() -> awaitable<void> {
    co_await swarm.world.time().sleep_until(swarm.world.time().now() + 100ms);
    node.close();
  });
  CHECK_THROWS_WITH_AS(swarm.run(node.get("k")), "skep: the DHT node was closed", Error);
  CHECK_THROWS_WITH_AS(swarm.run(node.get("k")), "skep: the DHT node is closed", Error);
  swarm.run(node.join());
  swarm.run(scope.join());
}

TEST_CASE("A3.12 A7.6 a call that is cancelled ends at once and leaves nothing behind") {
  Swarm swarm(8);
  for (std::size_t i = 1; i < 8; ++i) swarm.kill(swarm.nodes[i]);
  sim::Host clock(swarm.world);
  const auto start = swarm.world.time().now();
  CHECK_THROWS_AS(swarm.run(with_timeout(clock, 50ms, swarm.nodes[0].get("k"))), Error);
  CHECK(swarm.world.time().now() - start == 50ms);
  swarm.world.time().run_for(10s);
  CHECK(swarm.nodes[0].protocol().children.size() == 0);
}

TEST_CASE("the same seed runs the same way") {
  const auto run = [](std::uint64_t seed) {
    Swarm swarm(20, {.seed = seed, .latency = sim::normal(90ms, 30ms), .loss = 0.02});
    for (int i = 0; i < 10; ++i) swarm.run(swarm.any().store(i, i, swarm.in(600)));
    for (int i = 0; i < 10; ++i) swarm.run(swarm.any().get(i));
    return swarm.world.transcript().hash();
  };
  CHECK(run(5) == run(5));
  CHECK(run(5) != run(6));
}
