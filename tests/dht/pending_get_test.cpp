#include "skep/dht/pending_get.hpp"

#include <string>
#include <vector>

#include <doctest/doctest.h>
#include "dht/swarm.hpp"
#include "skep/dht/node.hpp"
#include "skep/sim/network.hpp"

using namespace skep;
using codec::msgpack::Value;
using skep_test::Node;
using skep_test::Swarm;

TEST_CASE("A3.19 A1.8 gets are given up one by one") {
  Swarm swarm(32);
  const std::vector<std::string> keys{"a", "b", "c", "nothing"};
  for (std::size_t i = 0; i < 3; ++i) CHECK(swarm.run(swarm.nodes[i].store(keys[i], i, swarm.in(60))));
  Node& reader = swarm.nodes[20];
  auto pending = reader.get_many_futures(keys);
  REQUIRE(pending.size() == 4);
  pending[1].cancel();
  pending[1].cancel();
  CHECK(swarm.run(pending[0].get())->value == Value(0));
  CHECK_THROWS_AS(swarm.run(pending[1].get()), Error);
  CHECK(swarm.run(pending[2].get())->value == Value(2));
  CHECK(pending[2].ready());
  CHECK_FALSE(swarm.run(pending[3].get()));
}

TEST_CASE("a search ends with the last who waits for it, and not before") {
  Swarm swarm(16);
  for (std::size_t i = 1; i < 16; ++i) swarm.kill(swarm.nodes[i]);
  Node& reader = swarm.nodes[0];
  auto& searches = reader.protocol().searches;
  {
    auto first = reader.get_many_futures({"k"});
    {
      const auto second = reader.get_many_futures({"k"});
      CHECK(searches.size() == 1);
    }
    swarm.world.time().run_for(10ms);
    CHECK(searches.size() == 1);
    CHECK_FALSE(first[0].ready());
  }
  swarm.world.time().run_for(10ms);
  CHECK(searches.size() == 0);
}

TEST_CASE("the time of a get counts from its beginning") {
  Swarm swarm(8);
  for (std::size_t i = 1; i < 8; ++i) swarm.kill(swarm.nodes[i]);
  auto pending = swarm.nodes[0].get_many_futures({"k"}, {.timeout = 500ms});
  swarm.world.time().run_for(300ms);
  const auto start = swarm.world.time().now();
  CHECK_FALSE(swarm.run(pending[0].get()));
  CHECK(swarm.world.time().now() - start == 200ms);
}
