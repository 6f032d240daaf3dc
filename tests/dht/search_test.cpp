#include "skep/dht/search.hpp"

#include <algorithm>
#include <vector>

#include <doctest/doctest.h>
#include "dht/swarm.hpp"
#include "skep/dht/node.hpp"
#include "skep/sim/network.hpp"

using namespace skep;
using skep_test::Node;
using skep_test::Swarm;

TEST_CASE("J5 find_nearest is exact and ordered") {
  Swarm swarm(100);
  for (int round = 0; round < 20; ++round) {
    const auto target = dht::DHTID::random(swarm.world.random());
    std::vector<dht::DHTID> expected;
    for (const auto& node : swarm.nodes) expected.push_back(node.id());
    std::sort(expected.begin(), expected.end(),
              [&](const auto& a, const auto& b) { return (a ^ target) < (b ^ target); });
    expected.resize(8);
    std::vector<dht::DHTID> found;
    for (const auto& node : swarm.run(swarm.any().find_nearest(target, {.k_nearest = 8}))) found.push_back(node.id);
    CHECK(found == expected);
  }
}

TEST_CASE("A3.1 A3.3 many ids share requests, the nodes nearest to each in their order") {
  Swarm swarm(64);
  std::vector<dht::DHTID> queries;
  for (int i = 0; i < 32; ++i) queries.push_back(dht::key_id(i));
  Node& node = swarm.any();
  const auto before = swarm.world.calls("DHTProtocol.rpc_find");
  const auto together = swarm.run(node.find_nearest_nodes(queries, {.k_nearest = 5}));
  const auto between = swarm.world.calls("DHTProtocol.rpc_find");
  REQUIRE(together.size() == queries.size());
  for (std::size_t i = 0; i < queries.size(); ++i) {
    CHECK(together[i] == swarm.run(node.find_nearest(queries[i], {.k_nearest = 5})));
  }
  const auto alone = swarm.world.calls("DHTProtocol.rpc_find") - between;
  CHECK(2 * (between - before) < alone);
  CHECK(swarm.run(node.find_nearest_nodes({})).empty());  // A7.6
}

TEST_CASE("A3.36 H-11 buckets that are silent for refresh_timeout are searched, again and again") {
  for (const bool refreshes : {true, false}) {
    dht::NodeOptions options;
    if (refreshes) options.refresh_timeout = 60s;
    Swarm swarm(24, {}, options);
    swarm.world.time().run_for(10s);
    for (int period = 0; period < 3; ++period) {
      const auto before = swarm.world.calls("DHTProtocol.rpc_find");
      swarm.world.time().run_for(130s);
      CHECK((swarm.world.calls("DHTProtocol.rpc_find") > before) == refreshes);
    }
    Node& node = swarm.nodes[5];
    node.close();
    swarm.run(node.join());
    CHECK(node.protocol().children.size() == 0);
  }
}

TEST_CASE("a search ends at its time, whatever is found by then") {
  Swarm swarm(8);
  for (std::size_t i = 1; i < 8; ++i) swarm.kill(swarm.nodes[i]);
  const auto start = swarm.world.time().now();
  const auto found = swarm.run(swarm.nodes[0].find_nearest(dht::key_id("x"), {.timeout = 200ms}));
  CHECK(swarm.world.time().now() - start == 200ms);
  CHECK_FALSE(found.empty());
}

TEST_CASE("A3.1 no more nodes than were asked for, this one included only where it is near") {
  Swarm swarm(30);
  const auto& self = swarm.nodes[4];
  const auto near = swarm.run(self.find_nearest(self.id(), {.k_nearest = 3}));
  REQUIRE(near.size() == 3);
  CHECK(near[0].id == self.id());
  CHECK(near[0].contact == self.peer_id());
  const auto others = swarm.run(self.find_nearest(self.id(), {.k_nearest = 3, .exclude_self = true}));
  REQUIRE(others.size() == 3);
  CHECK(others[0].id == near[1].id);
}

TEST_CASE("A3.2 when all nodes that are known are banned they are asked all the same") {
  Swarm swarm(3);
  auto& node = swarm.nodes[0];
  for (const auto& other : swarm.nodes) node.protocol().blacklist.failed(other.peer_id(), node.network().steady_now());
  CHECK(swarm.run(node.find_nearest(dht::key_id("x"))).size() == 3);
}

TEST_CASE("who has lost everybody asks the initial peers, but no call outlives its deadline for that") {
  Swarm swarm(4);
  auto& node = swarm.nodes[3];
  for (std::size_t i = 0; i < 3; ++i) {
    swarm.kill(swarm.nodes[i]);
    node.protocol().table.silent(swarm.nodes[i].id());
  }
  auto start = swarm.world.time().now();
  CHECK(swarm.run(node.find_nearest(dht::key_id("x"), {.exclude_self = true, .timeout = 300ms})).empty());
  CHECK(swarm.world.time().now() - start == 300ms);
  swarm.world.time().run_for(10s);
  start = swarm.world.time().now();
  (void)swarm.run(node.store("k", 1, swarm.in(60), {.timeout = 200ms}));
  CHECK(swarm.world.time().now() - start <= 200ms);
  swarm.world.time().run_for(10s);
  start = swarm.world.time().now();
  CHECK_FALSE(swarm.run(node.get("k2", {.timeout = 100ms})));
  CHECK(swarm.world.time().now() - start <= 100ms);
}
