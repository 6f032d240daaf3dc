#include "skep/moe/dht_store.hpp"

#include "skep/dht/node.hpp"
#include "skep/sim/network.hpp"
// doctest comes last
#include <doctest/doctest.h>

using namespace skep;
using codec::msgpack::Array;
using codec::msgpack::Tuple;
using codec::msgpack::Value;
using Node = dht::Node<sim::Host>;
using Store = moe::DhtStore<Node>;

static_assert(moe::KeyValueStore<Store> && Clock<Store>);

namespace {

std::vector<Node> swarm(sim::World& world, std::size_t size) {
  std::vector<Node> nodes;
  for (std::size_t i = 0; i < size; ++i) {
    world.run([&]() -> awaitable<void> {
      dht::NodeOptions options;
      if (!nodes.empty()) options.initial_peers = {nodes.front().peer_id()};
      nodes.push_back(co_await Node::create(sim::Host(world), std::move(options)));
    }());
  }
  return nodes;
}

}  // namespace

TEST_CASE("B6.4 entries that are none are skipped without harm to their neighbours") {
  sim::World world;
  auto nodes = swarm(world, 4);
  world.run([&]() -> awaitable<void> {
    Node node = nodes[0];
    const std::string peer = node.peer_id().to_string();
    const std::vector<std::pair<Value, Value>> entries{
        {0, Tuple{{"ffn.3.0", peer}}},
        {1, Array{"ffn.3.1", peer}},                                // a list: the form of older versions
        {"2", Tuple{{"ffn.3.2", peer}}},                            // a text subkey
        {3, Tuple{{"ffn.3.3", to_bytes(node.peer_id().bytes())}}},  // a peer id as bytes
        {4, Tuple{{"ffn.3.4", "nobody"}}},
        {5, Tuple{{"no uid", peer}}},
        {6, Tuple{{"ffn.3.6", peer, 1}}},
        {-1, Value()},  // Hivemind's "nothing here"
        {-2, Tuple{{"ffn.3.0", peer}}},
        {std::int64_t{1} << 40, Tuple{{"ffn.3.0", peer}}},
        {7, Tuple{{"ffn.3.7", peer}}}};
    std::vector<dht::StoreItem> items;
    for (const auto& [subkey, value] : entries) items.push_back({"ffn.3.", value, node.now() + 60s, subkey});
    items.push_back({"ffn.4.", "no dictionary", node.now() + 60s});
    co_await node.store_many(std::move(items));

    Store store(nodes[2]);
    const std::vector<std::string> prefixes{"ffn.3.", "ffn.4.", "ffn.5."};
    const auto found = co_await store.get_many(prefixes);
    REQUIRE(found.size() == 3);
    REQUIRE(found[0]);
    const std::map<int, moe::UidEndpoint> expected{{0, {"ffn.3.0", node.peer_id()}}, {7, {"ffn.3.7", node.peer_id()}}};
    CHECK(*found[0] == expected);
    CHECK_FALSE(found[1]);
    CHECK_FALSE(found[2]);
  }());
}

TEST_CASE("B6.15 a marker that says nothing is here hides no expert") {
  sim::World world;
  auto nodes = swarm(world, 4);
  world.run([&]() -> awaitable<void> {
    Node node = nodes[0];
    co_await node.store_subkey("flat.0.", -1, Value(), node.now() + 300s);  // of an expert with one coordinate
    co_await node.store_subkey("deep.0.", -1, Value(), node.now() + 300s);
    co_await moe::declare_experts(node, {"deep.0.1", "flat.1"}, node.now() + 60s);
    const moe::MoEBeamSearcher deep(Store(nodes[1]), "deep.", {2, 2});
    const std::vector<std::vector<float>> two{{1, 0}, {1, 0}};
    const auto experts = co_await deep.find_best_experts(two, 2);
    REQUIRE(experts.size() == 1);
    CHECK(experts[0].uid == "deep.0.1");
    const moe::MoEBeamSearcher flat(Store(nodes[1]), "flat.", {2});
    const std::vector<std::vector<float>> one{{1, 0}};
    const auto flats = co_await flat.find_best_experts(one, 2);
    REQUIRE(flats.size() == 1);
    CHECK(flats[0].uid == "flat.1");
  }());
}

TEST_CASE("B6.2 a search through the DHT finds what servers declared, in virtual time") {
  sim::World world({.latency = sim::constant(20ms)});
  auto nodes = swarm(world, 16);
  world.run([&]() -> awaitable<void> {
    for (std::size_t server = 0; server < 4; ++server) {
      std::vector<std::string> uids;
      for (int i = 0; i < 4; ++i) uids.push_back("ffn." + std::to_string(server) + "." + std::to_string(i));
      co_await moe::declare_experts(nodes[server], std::move(uids), nodes[server].now() + 60s);
    }
    Node client = nodes[9];
    const moe::MoEBeamSearcher searcher(Store(client), "ffn.", {4, 4}, {.cache_time = 5s});
    const std::vector<std::vector<float>> scores{{0, 1, 2, 3}, {0, 10, 20, 30}};
    const SteadyTime start = client.network().steady_now();
    const auto best = co_await searcher.find_best_experts(scores, 3);
    REQUIRE(best.size() == 3);
    CHECK(best[0] == moe::ExpertInfo{"ffn.3.3", nodes[3].peer_id()});
    CHECK(best[1] == moe::ExpertInfo{"ffn.2.3", nodes[2].peer_id()});
    CHECK(client.network().steady_now() - start <= 100ms);
    const SteadyTime cached = client.network().steady_now();
    const auto again = co_await searcher.find_best_experts(scores, 3);
    CHECK(again == best);
    CHECK(client.network().steady_now() == cached);
  }());
}
