#include "skep/dht/store.hpp"

#include <algorithm>
#include <vector>

#include <doctest/doctest.h>
#include "dht/swarm.hpp"
#include "skep/dht/node.hpp"
#include "skep/sim/network.hpp"

using namespace skep;
using codec::msgpack::Tuple;
using codec::msgpack::Value;
using dht::NodeOptions;
using dht::StoreItem;
using dht::StoreOptions;
using dht::StoreResult;
using skep_test::Node;
using skep_test::Swarm;

TEST_CASE("A3.5 A3.6 subkeys make dictionaries, and 0, the empty text and false are subkeys") {
  Swarm swarm(12);
  std::vector<StoreItem> items;
  for (const Value& subkey : {Value(0), Value(""), Value(false), Value(to_bytes("b")), Value(Tuple{{"t", 1}})}) {
    items.push_back({"d", Tuple{{"uid", "peer"}}, swarm.in(60), subkey});
  }
  items.push_back({"plain", 1, swarm.in(60)});
  const auto before = swarm.world.calls("DHTProtocol.rpc_store");
  const auto results = swarm.run(swarm.nodes[3].store_many(items));
  CHECK(results == std::vector(6, StoreResult{.accepted = 5}));
  CHECK(swarm.world.calls("DHTProtocol.rpc_store") - before <= 10);  // A3.6 one request a replica
  const auto found = swarm.run(swarm.nodes[9].get("d"));
  REQUIRE(found);
  CHECK(found->is_dictionary);
  CHECK(found->items.size() == 5);
  REQUIRE(found->find(0));
  CHECK(found->find(0)->value == Value(Tuple{{"uid", "peer"}}));
  CHECK(found->find(false));
  CHECK_FALSE(found->find(1));
  CHECK_THROWS_AS(swarm.run(swarm.nodes[0].store_subkey("d", Value(), 1, swarm.in(60))), Error);
}

TEST_CASE("A3.8 H-5 a store says how many replicas keep it, and is true for a majority") {
  Swarm swarm(16);
  const auto late = swarm.in(100);
  CHECK(swarm.run(swarm.nodes[0].store("k", 1, late)) == StoreResult{.accepted = 5});
  const auto again = swarm.run(swarm.nodes[7].store("k", 2, late));
  CHECK(again == StoreResult{.rejected = 5});
  CHECK_FALSE(again);
  // one replica that knows something newer does not make the result a matter of chance
  const auto holders = swarm.run(swarm.nodes[0].find_nearest(dht::key_id("k"), {.k_nearest = 5}));
  for (auto& node : swarm.nodes) {
    if (node.id() == holders[2].id) {
      node.protocol().storage.store(dht::key_id("k"), {codec::msgpack::encode(9), swarm.in(200)}, node.now());
    }
  }
  for (int i = 1; i <= 20; ++i) {
    const auto result = swarm.run(swarm.any().store("k", i, late + std::chrono::seconds(i)));
    CHECK(result == StoreResult{.accepted = 4, .rejected = 1});
    CHECK(result);
  }
}

TEST_CASE("A3.9 H-16 a client never counts itself as a replica and serves nobody") {
  Swarm swarm(10);
  Node& client = swarm.add({.client_mode = true});
  for (int i = 0; i < 20; ++i) {
    CHECK(swarm.run(client.store(i, i, swarm.in(60))) == StoreResult{.accepted = 5});
    std::size_t copies = 0;
    for (auto& node : swarm.nodes) copies += node.protocol().storage.find(dht::key_id(i), node.now()) != nullptr;
    CHECK(copies == 5);
  }
  CHECK(client.record_count() == 0);
  for (auto& node : swarm.nodes) CHECK_FALSE(node.protocol().table.find(client.id()));
  CHECK(swarm.run(client.get(3))->value == Value(3));
  CHECK(swarm.run(client.find_nearest(client.id(), {.k_nearest = 20})).size() == 10);
}

TEST_CASE("A3.27 after a store one reads one's own value, not an older one from the cache") {
  Swarm swarm(16);
  Node& a = swarm.nodes[1];
  CHECK(swarm.run(swarm.nodes[0].store("k", 1, swarm.in(60))));
  CHECK(swarm.run(swarm.nodes[0].store_subkey("d", 1, 1, swarm.in(60))));
  CHECK(swarm.run(a.get("k"))->value == Value(1));
  CHECK(swarm.run(a.get("d"))->items.size() == 1);
  CHECK(swarm.run(a.store("k", 2, swarm.in(70))));
  CHECK(swarm.run(a.store_subkey("d", 2, 2, swarm.in(70))));
  CHECK(swarm.run(a.get("k"))->value == Value(2));
  CHECK(swarm.run(a.get("d"))->items.size() == 2);
}

TEST_CASE("J3 H-27 few calls: a store costs 3 to 5 finds where Hivemind needs 20, a get about one") {
  NodeOptions options;
  options.cache_locally = false;
  for (const std::size_t size : {16U, 64U}) {
    Swarm swarm(size, {}, options);
    const auto finds = [&] { return swarm.world.calls("DHTProtocol.rpc_find"); };
    const auto stores = [&] { return swarm.world.calls("DHTProtocol.rpc_store"); };
    swarm.world.time().run_for(30s);
    constexpr std::size_t rounds = 50;
    std::size_t find0 = finds();
    const std::size_t store0 = stores();
    for (std::size_t i = 0; i < rounds; ++i) CHECK(swarm.run(swarm.any().store(i, i, swarm.in(600))));
    const double per_store = static_cast<double>(finds() - find0) / rounds;
    CHECK(per_store <= (size == 16 ? 3.5 : 5.0));
    CHECK(static_cast<double>(stores() - store0) / rounds <= 5.0);
    find0 = finds();
    for (std::size_t i = 0; i < rounds; ++i) CHECK(swarm.run(swarm.any().get(i))->value == Value(i));
    const double per_get = static_cast<double>(finds() - find0) / rounds;
    CHECK(per_get <= (size == 16 ? 1.2 : 2.0));
    MESSAGE(size << " nodes: " << per_store << " finds a store, " << per_get << " finds a get");
  }
}

TEST_CASE("a value that no message can carry is refused here, and no node is blamed for it") {
  Swarm swarm(4);
  CHECK_THROWS_AS(swarm.run(swarm.nodes[0].store("k", Bytes(5'000'000), swarm.in(60))), Error);
  CHECK(swarm.nodes[0].peer_count() == 3);
  const auto refused = swarm.run(swarm.nodes[0].store("k", Bytes(2'000'000), swarm.in(60)));
  CHECK(refused.rejected == 4);  // longer than these nodes keep
}

TEST_CASE("H-27 with a majority of the nearest asked the records still go to the nearest") {
  Swarm swarm(100);
  for (int i = 0; i < 40; ++i) {
    const auto key = dht::key_id(i);
    CHECK(swarm.run(swarm.any().store(i, i, swarm.in(600))) == StoreResult{.accepted = 5});
    std::sort(swarm.nodes.begin(), swarm.nodes.end(),
              [&](const Node& a, const Node& b) { return (a.id() ^ key) < (b.id() ^ key); });
    std::size_t exact = 0;
    for (std::size_t n = 0; n < 5; ++n) exact += swarm.nodes[n].protocol().storage.find(key, swarm.in(0)) != nullptr;
    CHECK(exact == 5);
  }
}

TEST_CASE("A3.7 who does not answer is replaced by the next nearest") {
  Swarm swarm(24);
  const auto key = dht::key_id("k");
  const auto near = swarm.run(swarm.nodes[0].find_nearest(key, {.k_nearest = 8, .exclude_self = true}));
  std::size_t killed = 0;
  for (auto& node : swarm.nodes) {
    if (node.id() != near[0].id && node.id() != near[3].id && node.id() != near[4].id) continue;
    swarm.kill(node);
    ++killed;
  }
  CHECK(killed == 3);
  CHECK(swarm.run(swarm.nodes[0].store("k", 1, swarm.in(60), {.exclude_self = true})) == StoreResult{.accepted = 5});
}

TEST_CASE("A3.10 without await_all_replicas the first answer is the result, the others go on") {
  Swarm swarm(16, {.latency = sim::normal(200ms, 80ms)});
  Node& node = swarm.nodes[0];
  const StoreOptions first{.exclude_self = true, .await_all_replicas = false};
  const auto some = swarm.run(node.store("k", 1, swarm.in(60), first));
  CHECK(some);
  CHECK(some.accepted < 5);
  swarm.world.time().run_for(3s);
  std::size_t copies = 0;
  for (auto& each : swarm.nodes) copies += each.protocol().storage.find(dht::key_id("k"), each.now()) != nullptr;
  CHECK(copies >= 5);
  Swarm alone(1);  // nobody to wait for
  CHECK_FALSE(alone.run(alone.nodes[0].store("k", 1, alone.in(60), first)));
}

TEST_CASE("A3.27 cache_on_store can be switched off") {
  NodeOptions options;
  options.cache_on_store = false;
  Swarm swarm(16, {}, options);
  for (auto& node : swarm.nodes) {
    CHECK(swarm.run(node.store("k", 1, swarm.in(60 + static_cast<double>(&node - swarm.nodes.data())))));
    CHECK(node.protocol().cache.size() == 0);
  }
}

TEST_CASE("H-27 many keys in a small swarm that agrees on who is there cost no finds of their own") {
  Swarm swarm(16);
  const auto store_many = [&](Node& node, int first) {
    std::vector<StoreItem> items;
    for (int i = first; i < first + 256; ++i) items.push_back({i, i, swarm.in(600)});
    const auto before = swarm.world.calls("DHTProtocol.rpc_find");
    for (const auto& result : swarm.run(node.store_many(items))) CHECK(result.accepted == 5);
    return swarm.world.calls("DHTProtocol.rpc_find") - before;
  };
  CHECK(store_many(swarm.nodes[3], 0) == 3);
  std::size_t copies = 0;
  for (auto& node : swarm.nodes) copies += node.record_count();
  CHECK(copies == 5 * 256);
  swarm.nodes[3].protocol().table.silent(swarm.nodes[7].id());  // somebody whom the others know and it does not
  CHECK(store_many(swarm.nodes[3], 1000) > 20);
  swarm.kill(swarm.nodes[9]);
  CHECK(store_many(swarm.nodes[4], 2000) > 3);
}
