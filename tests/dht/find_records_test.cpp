#include "skep/dht/find_records.hpp"

#include <string>
#include <vector>

#include <doctest/doctest.h>
#include "dht/swarm.hpp"
#include "skep/async/when_all.hpp"
#include "skep/dht/node.hpp"
#include "skep/sim/network.hpp"

using namespace skep;
using codec::msgpack::Value;
using dht::NodeOptions;
using skep_test::Node;
using skep_test::Swarm;

namespace {
const std::string find = "DHTProtocol.rpc_find";

/// A node that holds nothing of a key, and is not among its five nearest.
Node& stranger_to(Swarm& swarm, const dht::DHTID& key) {
  for (auto& node : swarm.nodes) {
    if (!node.protocol().storage.find(key, node.now()) && !node.protocol().cache.find(key, node.now())) return node;
  }
  FAIL("everybody has it");
  return swarm.nodes.front();
}
}  // namespace

TEST_CASE("A3.23 readers of one key share one search, and its result when there is nothing") {
  for (const bool share : {true, false}) {
    NodeOptions options;
    options.reuse_get_requests = share;
    options.cache_locally = false;
    options.cache_nearest = 0;
    Swarm swarm(64, {}, options);
    CHECK(swarm.run(swarm.nodes[1].store("k", 7, swarm.in(60))));
    Node& reader = stranger_to(swarm, dht::key_id("k"));
    for (const std::string key : {"k", "missing"}) {
      const auto before = swarm.world.calls(find);
      CHECK(swarm.run(reader.get(key)).has_value() == (key == "k"));
      const auto alone = swarm.world.calls(find) - before;
      std::vector<awaitable<std::optional<dht::Found>>> many;
      for (int i = 0; i < 10; ++i) many.push_back(reader.get(key));
      for (const auto& found : swarm.run(when_all(std::move(many)))) CHECK(found.has_value() == (key == "k"));
      const auto together = swarm.world.calls(find) - before - alone;
      CHECK(together <= (share ? alone + 2 : 10 * alone + 20));
      CHECK((share || together >= 10 * alone / 2));
    }
    CHECK(reader.protocol().searches.size() == 0);  // A3.24
  }
}

TEST_CASE("A3.23 one who wants the latest does not get what was asked for before") {
  NodeOptions options;
  options.cache_locally = false;
  Swarm swarm(32, {}, options);
  CHECK(swarm.run(swarm.nodes[1].store("k", "old", swarm.in(60))));
  Node& reader = stranger_to(swarm, dht::key_id("k"));
  auto early = reader.get_many_futures({"k"}, {.latest = true});
  swarm.world.time().run_for(30ms);  // the first answers are on their way
  CHECK(swarm.run(swarm.nodes[1].store("k", "new", swarm.in(90))));
  CHECK(swarm.run(reader.get("k", {.latest = true}))->value == Value("new"));
  CHECK(swarm.run(early[0].get()));
}

TEST_CASE("A3.13 a value that expires too soon is kept only in case nothing better comes") {
  NodeOptions options;
  options.cache_locally = false;
  Swarm swarm(32, {}, options);
  CHECK(swarm.run(swarm.nodes[1].store("k", "short", swarm.in(60))));
  Node& reader = stranger_to(swarm, dht::key_id("k"));
  const WallTime later = swarm.in(100);
  CHECK(swarm.run(reader.get("k", {.sufficient_expiration_time = later}))->value == Value("short"));
  for (auto& node : swarm.nodes) {  // one replica knows better
    auto& storage = node.protocol().storage;
    if (!storage.find(dht::key_id("k"), node.now())) continue;
    storage.store(dht::key_id("k"), {codec::msgpack::encode("long"), swarm.in(200)}, node.now());
    break;
  }
  CHECK(swarm.run(reader.get("k", {.sufficient_expiration_time = later}))->value == Value("long"));
}

TEST_CASE("A3.25 what was found is remembered, if that is wanted") {
  for (const bool remember : {true, false}) {
    NodeOptions options;
    options.cache_locally = remember;
    Swarm swarm(32, {}, options);
    CHECK(swarm.run(swarm.nodes[1].store("k", 7, swarm.in(60))));
    Node& reader = stranger_to(swarm, dht::key_id("k"));
    CHECK(swarm.run(reader.get("k")));
    CHECK(reader.protocol().cache.size() == (remember ? 1 : 0));
    CHECK_FALSE(swarm.run(reader.get("nothing")));
    CHECK(reader.protocol().cache.size() == (remember ? 1 : 0));
  }
}

TEST_CASE("A3.26 the nearest node that was asked in vain gets what was found") {
  for (const std::size_t count : {0U, 1U, 2U}) {
    NodeOptions options;
    options.cache_nearest = count;
    options.cache_locally = false;
    options.cache_on_store = false;
    Swarm swarm(24, {}, options);
    const auto key = dht::key_id("k");
    CHECK(swarm.run(swarm.nodes[1].store("k", 7, swarm.in(60))));
    Node& reader = stranger_to(swarm, key);
    const auto near = swarm.run(reader.find_nearest(key, {.k_nearest = 5, .exclude_self = true}));
    for (auto& node : swarm.nodes) {  // all but the farthest replica lose it
      if (node.id() != near[4].id) node.protocol().storage.erase(key);
    }
    CHECK(swarm.run(reader.get("k"))->value == Value(7));
    swarm.world.time().run_for(1s);
    std::size_t cached = 0;
    for (auto& node : swarm.nodes) {
      if (!node.protocol().cache.find(key, node.now())) continue;
      ++cached;
      CHECK((node.id() == near[0].id || (count == 2 && node.id() == near[1].id)));
    }
    CHECK(cached == count);
  }
}
