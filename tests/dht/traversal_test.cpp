#include "skep/dht/traversal.hpp"

#include <algorithm>
#include <set>
#include <vector>

#include <doctest/doctest.h>
#include "skep/core/random.hpp"
#include "skep/kademlia/routing_table.hpp"

using namespace skep;
using dht::DHTID;
using dht::NodeEntry;
using dht::Traversal;
using dht::TraversalOptions;

namespace {
NodeEntry node(std::uint8_t n) {
  Bytes id(20);
  id.front() = n;
  return {*DHTID::from_bytes(id), *p2p::PeerId::from_bytes(Bytes{0, 1, n})};
}
}  // namespace

TEST_CASE("A7.2 A7.3 keys that can ask the same node share a request") {
  std::vector<DHTID> targets{node(0).id, node(0).id ^ node(1).id, node(0x80).id};
  Traversal t(targets, {}, {.width = 3, .parallelism = 1, .packing = 3});
  const std::vector<NodeEntry> near{node(0x10), node(0x11), node(0x12)};
  t.add(0, near);
  t.add(1, near);
  t.add(2, std::vector{node(0x90), node(0x12)});
  const auto requests = t.next();
  REQUIRE(requests.size() == 1);
  CHECK(requests[0].keys == std::vector<std::size_t>{0, 1, 2});
  CHECK(requests[0].node == node(0x12));
  CHECK(t.next().empty());
  CHECK_FALSE(t.finished());
  t.answered(requests[0]);
  t.finish(0);
  t.finish(1);
  CHECK_FALSE(t.finished(2));
  const auto more = t.next();  // alone now: its nearest
  REQUIRE(more.size() == 1);
  CHECK(more[0].node == node(0x90));
  t.answered(more[0]);
  CHECK(t.finished(2));
  CHECK(t.finished());
  CHECK(t.nearest(2, 1) == std::vector{node(0x90)});
}

TEST_CASE("A7.1 a key alone asks its nearest first") {
  Traversal t({node(0).id}, {}, {.width = 3, .parallelism = 1});
  t.add(0, std::vector{node(4), node(1), node(2)});
  const auto first = t.next();
  REQUIRE(first.size() == 1);
  CHECK(first[0].node == node(1));
  t.slow(first[0]);
  CHECK(t.next()[0].node == node(2));
}

TEST_CASE("A3.18 no request holds more keys than allowed") {
  std::vector<DHTID> targets;
  Random random(2);
  for (int i = 0; i < 40; ++i) targets.push_back(DHTID::random(random));
  Traversal t(targets, {}, {.width = 1, .parallelism = 1, .keys_per_request = 16});
  for (std::size_t key = 0; key < targets.size(); ++key) t.add(key, std::vector{node(1)});
  const auto requests = t.next();
  REQUIRE(requests.size() == 3);
  CHECK(requests[0].keys.size() == 16);
  CHECK(requests[2].keys.size() == 8);
  std::set<std::size_t> keys;
  for (const auto& request : requests) keys.insert(request.keys.begin(), request.keys.end());
  CHECK(keys.size() == 40);
}

TEST_CASE("A7.2 who is known under two ids is asked once for a key, and an id with two contacts is two nodes") {
  const NodeEntry again{node(2).id, node(1).contact};
  const NodeEntry other{node(1).id, node(3).contact};
  SUBCASE("a contact of several keys under an id that another one claims") {
    Traversal t({node(0).id, node(4).id, node(8).id, node(16).id}, {}, {.width = 3, .parallelism = 3, .packing = 3});
    t.add(0, std::vector{other});
    for (const std::size_t key : {1U, 2U, 3U}) t.add(key, std::vector{node(1)});
    const auto requests = t.next();
    REQUIRE(requests.size() == 2);
    CHECK(requests[0].node == node(1));
    CHECK(requests[0].keys == std::vector<std::size_t>{1, 2, 3});
    CHECK(requests[1].node == other);
    return;
  }
  Traversal t({node(0).id, node(4).id}, {}, {.width = 3, .parallelism = 3, .packing = 3});
  SUBCASE("two ids") {
    t.add(0, std::vector{node(1), again});
    t.add(1, std::vector{node(1), again});
    const auto requests = t.next();
    REQUIRE(requests.size() == 1);
    CHECK(requests[0].keys == std::vector<std::size_t>{0, 1});
    t.answered(requests[0]);
    CHECK(t.requests(0) == 1);
  }
  SUBCASE("two contacts") {
    t.add(0, std::vector{node(1)});
    t.add(1, std::vector{other});
    const auto requests = t.next();
    REQUIRE(requests.size() == 2);
    CHECK(requests[0].node == node(1));
    CHECK(requests[0].keys == std::vector<std::size_t>{0});
    CHECK(requests[1].node == other);
    CHECK(requests[1].keys == std::vector<std::size_t>{1});
    t.failed(requests[0]);
    CHECK(t.finished(0));
    CHECK_FALSE(t.finished(1));
    t.answered(requests[1]);
  }
  CHECK(t.finished());
}

TEST_CASE("A7.4 A7.6 a finished key asks nobody, and nothing is asked for no keys") {
  Traversal none({}, {});
  CHECK(none.next().empty());
  CHECK(none.finished());
  Traversal t({node(0).id, node(9).id}, {});
  t.add(0, std::vector{node(1)});
  t.add(1, std::vector{node(1)});
  t.finish(0);
  const auto requests = t.next();
  REQUIRE(requests.size() == 1);
  CHECK(requests[0].keys == std::vector<std::size_t>{1});
  t.failed(requests[0]);
  CHECK(t.finished());
}

TEST_CASE("J4 64 keys among 128 nodes cost fewer requests than Hivemind's 28") {
  Random random(17);
  std::vector<NodeEntry> nodes;
  kademlia::RoutingTable<DHTID, p2p::PeerId> table(DHTID::random(random));
  for (std::uint8_t i = 0; i < 128; ++i) {
    nodes.push_back({DHTID::random(random), *p2p::PeerId::from_bytes(Bytes{0, 1, i})});
    table.heard(nodes.back().id, nodes.back().contact);
  }
  std::vector<DHTID> targets;
  for (int i = 0; i < 64; ++i) targets.push_back(DHTID::random(random));
  const auto holds = [&](const NodeEntry& who, const DHTID& target) {
    return std::count_if(nodes.begin(), nodes.end(),
                         [&](const NodeEntry& n) { return (n.id ^ target) < (who.id ^ target); }) < 5;
  };
  Traversal t(targets, {}, {.width = 10, .parallelism = 1});
  for (std::size_t key = 0; key < targets.size(); ++key) t.add(key, table.nearest(targets[key], 20));
  std::size_t sent = 0;
  std::size_t found = 0;
  while (!t.finished()) {
    for (const auto& request : t.next()) {
      ++sent;
      t.answered(request);
      for (const std::size_t key : request.keys) {
        if (!holds(request.node, t.target(key))) continue;
        t.finish(key);
        ++found;
      }
    }
  }
  CHECK(found == 64);
  CHECK(sent <= 28);
}

TEST_CASE("with disjoint paths a key asks on each of them, and what an answer names stays on its path") {
  Traversal t({node(0).id}, {}, {.width = 2, .parallelism = 1, .disjoint_paths = 2});
  t.add(0, std::vector{node(8), node(9)});
  auto requests = t.next();
  REQUIRE(requests.size() == 2);
  CHECK(requests[0].node == node(8));
  CHECK(requests[1].node == node(9));
  t.answered(requests[0]);
  t.add(0, std::vector{node(1), node(2)}, node(8));
  t.answered(requests[1]);
  CHECK(t.next()[0].node == node(1));
  CHECK_FALSE(t.finished());
  CHECK(t.nearest(0, 9) == std::vector{node(1), node(2), node(8), node(9)});
  t.renamed(0, node(9), node(3).id);
  CHECK(t.nearest(0, 9)[2].id == node(3).id);
  CHECK(t.requests(0) == 3);
}
