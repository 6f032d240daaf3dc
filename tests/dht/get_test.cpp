#include "skep/dht/get.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include "dht/swarm.hpp"
#include "skep/dht/node.hpp"
#include "skep/sim/network.hpp"

using namespace skep;
using codec::msgpack::Value;
using dht::NodeOptions;
using dht::StoreItem;
using skep_test::Node;
using skep_test::Swarm;

TEST_CASE("items of a dictionary expire one by one, and later expirations win") {
  Swarm swarm(12);
  CHECK(swarm.run(swarm.nodes[0].store_subkey("d", "a", 1, swarm.in(10))));
  CHECK(swarm.run(swarm.nodes[1].store_subkey("d", "b", 2, swarm.in(100))));
  CHECK(swarm.run(swarm.nodes[2].store_subkey("d", "a", 3, swarm.in(20))));
  CHECK_FALSE(swarm.run(swarm.nodes[2].store_subkey("d", "a", 4, swarm.in(15))));
  auto found = swarm.run(swarm.nodes[5].get("d", {.latest = true}));
  REQUIRE(found);
  CHECK(found->find("a")->value == Value(3));
  swarm.world.time().run_for(50s);
  found = swarm.run(swarm.nodes[6].get("d"));
  REQUIRE(found);
  CHECK(found->items.size() == 1);
  CHECK(found->find("b"));
}

TEST_CASE("A3.14 what is stored or cached here costs no call") {
  Swarm swarm(16);
  CHECK(swarm.run(swarm.nodes[0].store("k", 1, swarm.in(60))));
  Node* reader = nullptr;
  for (auto& node : swarm.nodes) {
    if (node.record_count() == 0) reader = &node;
  }
  REQUIRE(reader);
  CHECK(swarm.run(reader->get("k")));
  const auto before = swarm.world.calls("DHTProtocol.rpc_find");
  CHECK(swarm.run(reader->get("k")));
  CHECK(swarm.world.calls("DHTProtocol.rpc_find") == before);
  CHECK(swarm.run(reader->get("k", {.latest = true})));
  CHECK(swarm.world.calls("DHTProtocol.rpc_find") > before);
}

TEST_CASE("A3.16 a dictionary is joined from several replicas: one that missed an item hides nothing") {
  NodeOptions options;
  options.cache_locally = false;
  Swarm swarm(16, {}, options);
  std::size_t complete = 0;
  for (int i = 0; i < 40; ++i) {
    const std::string key = "d" + std::to_string(i);
    CHECK(swarm.run(swarm.any().store_subkey(key, 1, "one", swarm.in(60))));
    CHECK(swarm.run(swarm.any().store_subkey(key, 2, "two", swarm.in(60))));
    std::size_t broken = 0;  // two of five replicas lose an item
    for (auto& node : swarm.nodes) {
      auto& storage = node.protocol().storage;
      if (broken == 2 || !storage.find(dht::key_id(key), node.now())) continue;
      storage.erase(dht::key_id(key));
      storage.store_subkey(dht::key_id(key), codec::msgpack::encode(1), {codec::msgpack::encode("one"), swarm.in(60)},
                           node.now());
      ++broken;
    }
    CHECK(broken == 2);
    const auto found = swarm.run(swarm.any().get(key));
    complete += found && found->items.size() == 2;
  }
  CHECK(complete == 40);
}

TEST_CASE("J4 many keys share requests") {
  Swarm swarm(64);
  std::vector<StoreItem> items;
  std::vector<std::string> keys;
  for (int i = 0; i < 64; ++i) {
    keys.push_back("key" + std::to_string(i));
    items.push_back({keys.back(), i, swarm.in(600)});
  }
  const auto find0 = swarm.world.calls("DHTProtocol.rpc_find");
  const auto store0 = swarm.world.calls("DHTProtocol.rpc_store");
  for (const auto& result : swarm.run(swarm.nodes[3].store_many(items))) CHECK(result.accepted == 5);
  const auto find1 = swarm.world.calls("DHTProtocol.rpc_find");
  CHECK(find1 - find0 <= 214);
  CHECK(swarm.world.calls("DHTProtocol.rpc_store") - store0 <= 70);
  auto wanted = keys;
  wanted.push_back("missing");
  wanted.push_back("key0");
  const auto found = swarm.run(swarm.nodes[40].get_many(wanted));
  REQUIRE(found.size() == 66);
  for (std::size_t i = 0; i < 64; ++i) CHECK(found[i]->value == Value(i));
  CHECK_FALSE(found[64]);
  CHECK(found[65]->value == Value(0));
  const auto find2 = swarm.world.calls("DHTProtocol.rpc_find");
  CHECK(find2 - find1 <= 28 + 20);  // the missing key alone needs more than ten
  MESSAGE("64 keys: " << find1 - find0 << " finds to store, " << find2 - find1 << " to get");
}

TEST_CASE("J6 with half of the nodes dead everything is found, and nobody waits for the dead") {
  NodeOptions options;
  options.cache_locally = false;
  Swarm swarm(64, {}, options);
  for (int i = 0; i < 60; ++i) CHECK(swarm.run(swarm.any().store(i, i, swarm.in(3600))));
  std::vector<Node*> alive;
  for (std::size_t i = 0; i < swarm.nodes.size(); ++i) {
    if (i % 2 == 0) {
      swarm.kill(swarm.nodes[i]);
    } else {
      alive.push_back(&swarm.nodes[i]);
    }
  }
  std::size_t found = 0;
  Duration longest{};
  for (int i = 0; i < 60; ++i) {
    const auto start = swarm.world.time().now();
    found += swarm.run(alive[swarm.world.random().below(alive.size())]->get(i)).has_value();
    longest = std::max(longest, swarm.world.time().now() - start);
  }
  CHECK(found >= 57);  // five replicas are all dead once in 32
  CHECK(longest < 3s);
  const auto start = swarm.world.time().now();
  CHECK(swarm.run(alive[0]->store("new", 1, swarm.in(60))).accepted == 5);
  CHECK(swarm.world.time().now() - start < 3s);
}

TEST_CASE("a reader chooses how many it asks at once, and of how many replicas a dictionary is joined") {
  Swarm swarm(60, {.latency = sim::normal(90ms, 30ms)}, {.cache_locally = false});
  for (int i = 0; i < 20; ++i) CHECK(swarm.run(swarm.any().store_subkey(i, 1, 1, swarm.in(3600))));
  struct Cost {
    std::size_t finds;
    Duration time;
  };
  const auto read = [&](dht::GetOptions options) {
    const std::size_t before = swarm.world.calls("DHTProtocol.rpc_find");
    const auto start = swarm.world.time().now();
    for (int i = 0; i < 20; ++i) CHECK(swarm.run(swarm.nodes[7].get(i, options)));
    return Cost{swarm.world.calls("DHTProtocol.rpc_find") - before, swarm.world.time().now() - start};
  };
  const Cost majority = read({});
  const Cost first = read({.replicas = 1});
  const Cost hasty = read({.num_workers = 4, .replicas = 1});
  CHECK(first.finds < majority.finds);
  CHECK(first.time < majority.time);
  CHECK(hasty.finds > first.finds);
  CHECK(hasty.time < first.time);
}

TEST_CASE("A3.20 A3.26 the answer does not wait until what was found is given to a near node") {
  Swarm swarm(16, {.latency = sim::constant(50ms)}, {.cache_locally = false, .cache_on_store = false});
  CHECK(swarm.run(swarm.nodes[0].store("k", 1, swarm.in(60))));
  std::size_t holders = 0;
  for (auto& node : swarm.nodes) holders += node.record_count();
  CHECK(holders == 5);
  // two nearer nodes lose it, so that a search passes them
  const dht::DHTID key = dht::key_id("k");
  std::sort(swarm.nodes.begin(), swarm.nodes.end(),
            [&](const Node& a, const Node& b) { return (a.id() ^ key) < (b.id() ^ key); });
  for (const std::size_t i : {0U, 1U}) swarm.nodes[i].protocol().storage.erase(key);
  const auto cached = [&] {
    return std::count_if(swarm.nodes.begin(), swarm.nodes.end(),
                         [&](Node& node) { return node.protocol().cache.find(key, node.now()) != nullptr; });
  };
  CHECK(swarm.run(swarm.nodes.back().get("k")));
  CHECK(cached() == 0);
  swarm.world.time().run_for(1s);
  CHECK(cached() == 1);
}

TEST_CASE("A3.31 what was not found is looked for again: the node remembers no misses") {
  Swarm swarm(16);
  const auto finds = [&] { return swarm.world.calls("DHTProtocol.rpc_find"); };
  Node& reader = swarm.nodes[3];
  CHECK_FALSE(swarm.run(reader.get("k")));
  const auto before = finds();
  CHECK_FALSE(swarm.run(reader.get("k")));
  CHECK(finds() > before);
  CHECK(swarm.run(swarm.nodes[0].store("k", 1, swarm.in(60))));
  CHECK(swarm.run(reader.get("k")));
}
