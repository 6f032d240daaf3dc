#include "skep/dht/give.hpp"

#include <vector>

#include <doctest/doctest.h>
#include "dht/swarm.hpp"
#include "skep/dht/node.hpp"
#include "skep/sim/network.hpp"

using namespace skep;
using dht::StoreEntry;
using skep_test::Node;
using skep_test::Swarm;

TEST_CASE("records that are more than one message go in several, each with its answer") {
  Swarm swarm(2);
  Node& from = swarm.nodes[0];
  Node& to = swarm.nodes[1];
  std::vector<StoreEntry> entries;
  for (int i = 0; i < 12; ++i) {
    const Bytes value =
        codec::msgpack::encode(Bytes(i == 5 ? 2'000'000 : 900'000));  // one is longer than a record may be
    entries.push_back({dht::key_id(i), dht::regular_tag(), value, swarm.in(60)});
  }
  const auto before = swarm.world.calls("DHTProtocol.rpc_store");
  const auto self = from.protocol().shared_from_this();
  const auto answer = swarm.run(dht::detail::give(self, {to.id(), to.peer_id()}, entries));
  REQUIRE(answer);
  codec::Bools expected(12, 1);
  expected[5] = 0;
  CHECK(answer->kept == expected);
  CHECK(swarm.world.calls("DHTProtocol.rpc_store") - before >= 4);
  CHECK(to.record_count() == 11);
  const auto own = swarm.run(dht::detail::give(self, {from.id(), from.peer_id()}, {entries[0]}));
  REQUIRE(own);
  CHECK(own->kept == codec::Bools{1});
  CHECK(from.record_count() == 1);
}

TEST_CASE("long subkeys count towards a message, too") {
  Swarm swarm(2);
  Node& from = swarm.nodes[0];
  Node& to = swarm.nodes[1];
  std::vector<StoreEntry> entries;
  for (int i = 0; i < 6; ++i) {
    entries.push_back({dht::key_id(i), codec::msgpack::encode(Bytes(900'000)), {1}, swarm.in(60)});
  }
  const auto self = from.protocol().shared_from_this();
  const auto answer = swarm.run(dht::detail::give(self, {to.id(), to.peer_id()}, entries));
  REQUIRE(answer);
  CHECK(answer->kept == codec::Bools(6, 1));
}

TEST_CASE("who does not answer gives nothing") {
  Swarm swarm(2);
  swarm.kill(swarm.nodes[1]);
  const auto self = swarm.nodes[0].protocol().shared_from_this();
  const StoreEntry entry{dht::key_id(1), dht::regular_tag(), {1}, swarm.in(60)};
  CHECK_FALSE(swarm.run(dht::detail::give(self, {swarm.nodes[1].id(), swarm.nodes[1].peer_id()}, {entry})));
}
