#include "skep/moe/dht_store.hpp"

#include "skep/dht/node.hpp"
#include "skep/moe/beam_search.hpp"
#include "skep/moe/server_load.hpp"
#include "skep/sim/network.hpp"
#include "support/simulated_nodes.hpp"
// doctest comes last
#include <doctest/doctest.h>

using namespace skep;
using codec::msgpack::Array;
using codec::msgpack::Tuple;
using codec::msgpack::Value;
using Node = dht::Node<sim::Host>;
using Store = moe::DhtStore<Node>;

static_assert(moe::KeyValueStore<Store> && Clock<Store>);

TEST_CASE("B6.4 entries that are none are skipped without harm to their neighbours") {
  sim::World world;
  auto nodes = test::simulated_nodes(world, 4);
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

TEST_CASE("B6.15, H-9: a marker that says nothing is here hides no expert") {
  sim::World world;
  auto nodes = test::simulated_nodes(world, 4);
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
  auto nodes = test::simulated_nodes(world, 16);
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

TEST_CASE(
    "B6.11, B6.12 a negative entry spares others the search, an expert that is declared after it is found at once") {
  sim::World world({.latency = sim::constant(20ms)});
  auto nodes = test::simulated_nodes(world, 24);
  const moe::MoEBeamSearcher searcher(Store(nodes[1]), "ffn.", {1, 2}, {.negative_caching = true});
  const moe::MoEBeamSearcher flat(Store(nodes[1]), "flat.", {1}, {.negative_caching = true});
  const std::vector<std::vector<float>> scores{{1}, {1, 0}};
  const std::vector<std::vector<float>> one{{1}};
  world.run([&]() -> awaitable<void> {
    auto none = co_await searcher.find_best_experts(scores, 2);
    CHECK(none.empty());
    none = co_await flat.find_best_experts(one, 2);
    CHECK(none.empty());
    co_await nodes[1].network().sleep_until(nodes[1].network().steady_now() + 1s);  // the notes arrive
    const auto note = co_await nodes[2].get("ffn.0.");
    REQUIRE(note);
    REQUIRE(note->items.size() == 1);
    CHECK(note->items[0].subkey == Value("missing"));  // text: skipped by Hivemind, and no place of an expert
    CHECK(note->items[0].expiration - nodes[1].now() < 300s);
    none = co_await searcher.find_best_experts(scores, 2);
    CHECK(none.empty());

    co_await moe::declare_experts(nodes[20], {"ffn.0.1", "flat.0"}, nodes[20].now() + 60s);
    for (const std::size_t reader : {1U, 2U, 9U}) {  // who left the note, who read it, who did not
      const moe::MoEBeamSearcher again(Store(nodes[reader]), "ffn.", {1, 2}, {.negative_caching = true});
      const auto best = co_await again.find_best_experts(scores, 2);
      REQUIRE(best.size() == 1);
      CHECK(best[0].uid == "ffn.0.1");
    }
    const auto found = co_await flat.find_best_experts(one, 2);
    CHECK(found.size() == 1);
  }());
}

TEST_CASE("B6.11 a miss that is remembered locally never satisfies a search for longer than was promised") {
  sim::World world({.latency = sim::constant(20ms)});
  auto nodes = test::simulated_nodes(world, 8);
  world.run([&]() -> awaitable<void> {
    auto& net = nodes[1].network();
    const moe::MoEBeamSearcher searcher(Store(nodes[1]), "ffn.", {1, 1}, {.missing_cache_time = 2s});
    const std::vector<std::vector<float>> scores{{1}, {1}};
    const auto none = co_await searcher.find_best_experts(scores, 1);
    CHECK(none.empty());
    const SteadyTime missed = net.steady_now();
    co_await moe::declare_experts(nodes[2], {"ffn.0.0"}, nodes[2].now() + 60s);
    const auto promised = co_await searcher.find_best_experts(scores, 1);
    CHECK(promised.empty());
    co_await net.sleep_until(missed + 2s);
    const auto best = co_await searcher.find_best_experts(scores, 1);
    CHECK(best.size() == 1);
  }());
}

TEST_CASE("H-25: servers tell their load in the dictionary of their experts, ties go to the one that is less busy") {
  sim::World world({.latency = sim::constant(20ms)});
  auto nodes = test::simulated_nodes(world, 8);
  world.run([&]() -> awaitable<void> {
    for (const auto& [server, uid, wait] : {std::tuple{1, "ffn.0.0", 500ms}, {2, "ffn.0.1", 5ms}}) {
      Node node = nodes[static_cast<std::size_t>(server)];
      const std::vector<std::string> uids{uid};
      co_await moe::declare_experts(node, uids, node.now() + 60s);
      co_await node.store_many(moe::load_records(uids, {node.peer_id(), wait}, node.now() + 10s));
    }
    Store store(nodes[5]);
    const auto delays = store.delays();
    const moe::MoEBeamSearcher searcher(store, "ffn.", {1, 2}, {.near_tie = 0.5F});
    const std::vector<std::vector<float>> scores{{0}, {1.0F, 0.9F}};
    auto best = co_await searcher.find_best_experts(scores, 1);  // learns the loads on its way
    REQUIRE(best.size() == 1);
    CHECK(best[0].uid == "ffn.0.1");
    CHECK(delays->of(nodes[1].peer_id(), nodes[5].network().steady_now()) == 500ms);
    const moe::MoEBeamSearcher scores_only(store, "ffn.", {1, 2});
    best = co_await scores_only.find_best_experts(scores, 1);
    CHECK(best[0].uid == "ffn.0.0");
    const auto uid_record = co_await nodes[5].get("ffn.0.0");
    REQUIRE(uid_record);
    CHECK_FALSE(uid_record->is_dictionary);
  }());
}

TEST_CASE("B6.10 a search whose time is over takes what the node knows, the gets go on and fill its cache") {
  sim::World world({.latency = sim::constant(50ms)});
  auto nodes = test::simulated_nodes(world, 8);
  world.run([&]() -> awaitable<void> {
    co_await moe::declare_experts(nodes[2], {"ffn.0.0", "ffn.1.0"}, nodes[2].now() + 60s);
    auto& net = nodes[5].network();
    const moe::MoEBeamSearcher searcher(Store(nodes[5]), "ffn.", {2, 1}, {.cache_time = 60s});
    const std::vector<std::vector<float>> scores{{1, 0}, {0}};
    const SteadyTime start = net.steady_now();
    const auto best = co_await searcher.find_best_experts(scores, 2, {.time_budget = 10ms});
    CHECK(net.steady_now() - start == 10ms);
    const bool at_home = best.size() == 2;  // the node may hold the records itself
    CHECK((best.partial || at_home));
    co_await net.sleep_until(start + 1s);
    const auto cached = co_await searcher.find_best_experts(scores, 2, {.time_budget = 0s});
    CHECK_FALSE(cached.partial);
    CHECK(cached.size() == 2);
  }());
}
