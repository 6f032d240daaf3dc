#include "skep/dht/refresh.hpp"

#include <doctest/doctest.h>
#include "dht/swarm.hpp"
#include "skep/dht/node.hpp"
#include "skep/sim/network.hpp"

using namespace skep;
using codec::msgpack::Value;
using dht::NodeOptions;
using skep_test::Node;
using skep_test::Swarm;

namespace {
struct Cached {
  explicit Cached(NodeOptions options = {}) : swarm(16, {}, options) {
    CHECK(swarm.run(swarm.nodes[0].store("k", "old", swarm.in(20))));
    for (auto& node : swarm.nodes) {
      if (node.record_count() == 0) reader = &node;
    }
    REQUIRE(reader);
    CHECK(swarm.run(reader->get("k")));
  }
  std::size_t finds() { return swarm.world.calls("DHTProtocol.rpc_find"); }

  Swarm swarm;
  Node* reader = nullptr;
};
}  // namespace

TEST_CASE("A3.28 what is read from the cache is found anew before it expires") {
  Cached c;
  CHECK(c.reader->protocol().refreshes.size() == 0);  // found in the swarm, not yet read here
  CHECK(c.swarm.run(c.reader->get("k")));
  CHECK(c.reader->protocol().refreshes.size() == 1);
  CHECK(c.swarm.run(c.swarm.nodes[0].store("k", "new", c.swarm.in(100))));
  CHECK(c.swarm.run(c.reader->get("k"))->value == Value("old"));
  c.swarm.world.time().run_for(16s);  // 20 s - 5 s
  const auto before = c.finds();
  CHECK(c.swarm.run(c.reader->get("k"))->value == Value("new"));
  CHECK(c.finds() == before);
}

TEST_CASE("A3.28 what nobody reads is left to expire") {
  Cached c;
  c.swarm.world.time().run_for(1s);
  const auto before = c.finds();
  c.swarm.world.time().run_for(60s);
  CHECK(c.finds() == before);
  CHECK_FALSE(c.reader->protocol().refreshing);
}

TEST_CASE("A3.28 in the last seconds a reader does not make the node search again and again") {
  Cached c;
  c.swarm.world.time().run_for(16s);
  const auto before = c.finds();
  for (int i = 0; i < 300; ++i) {
    (void)c.swarm.run(c.reader->get("k"));
    c.swarm.world.time().run_for(10ms);
  }
  CHECK(c.finds() > before);
  CHECK(c.finds() - before <= 4 * 16);
}

TEST_CASE("A3.28 zero refreshes nothing") {
  NodeOptions options;
  options.cache_refresh_before_expiry = {};
  Cached c(options);
  CHECK(c.swarm.run(c.reader->get("k")));
  CHECK(c.reader->protocol().refreshes.size() == 0);
}

TEST_CASE("A3.27 a dictionary that is cached here is completed after a store") {
  Cached c;
  Node& reader = *c.reader;
  CHECK(c.swarm.run(c.swarm.nodes[0].store_subkey("d", 1, 1, c.swarm.in(100))));
  CHECK(c.swarm.run(reader.get("d"))->items.size() == 1);
  CHECK(c.swarm.run(c.swarm.nodes[0].store_subkey("d", 2, 2, c.swarm.in(100))));
  CHECK(c.swarm.run(reader.store_subkey("d", 3, 3, c.swarm.in(110))));
  c.swarm.world.time().run_for(2s);
  CHECK(c.swarm.run(reader.get("d"))->items.size() == 3);
}

TEST_CASE("a closed node refreshes nothing") {
  Cached c;
  CHECK(c.swarm.run(c.reader->get("k")));
  c.reader->close();
  c.swarm.run(c.reader->join());
  CHECK(c.reader->protocol().children.size() == 0);
}
