#include "skep/dht/endorsement.hpp"

#include <string>

#include "skep/dht/ed25519_validator.hpp"
#include "skep/dht/node.hpp"
#include "skep/sim/network.hpp"

#include <doctest/doctest.h>

using namespace skep;
using codec::msgpack::Value;
using crypto::Ed25519KeyPair;
using dht::Ed25519SignatureValidator;
using Node = dht::Node<sim::Host, Ed25519SignatureValidator>;

TEST_CASE("H-37 anybody may claim an expert's uid, but only its owner can endorse who serves it") {
  sim::World world;
  const auto join = [&](std::vector<p2p::PeerId> peers) {
    return world.run(Node::create(sim::Host(world), {.initial_peers = std::move(peers)},
                                  Ed25519SignatureValidator(Ed25519KeyPair::generate())));
  };
  Node owner = join({});
  Node attacker = join({owner.peer_id()});
  Node reader = join({owner.peer_id()});
  const std::string tag = owner.protocol().validator.owner_tag();
  const WallTime later = owner.now() + 60s;
  const WallTime even_later = later + 10s;

  (void)world.run(owner.store("ffn.1.2", "owner's peer", later));
  CHECK(world.run(owner.store_many({dht::endorsement("ffn.1.2", "owner's peer", tag, later)})).front());
  CHECK(world.run(attacker.store("ffn.1.2", "attacker's peer", even_later)));
  CHECK_FALSE(
      world.run(attacker.store_many({dht::endorsement("ffn.1.2", "attacker's peer", tag, even_later)})).front());
  const std::string own_tag = attacker.protocol().validator.owner_tag();
  CHECK(world.run(attacker.store_many({dht::endorsement("ffn.1.2", "attacker's peer", own_tag, later)})).front());

  CHECK(world.run(reader.get("ffn.1.2", {.latest = true}))->value == Value("attacker's peer"));
  const auto found = world.run(reader.get(dht::endorsements_of("ffn.1.2"), {.latest = true}));
  REQUIRE(found);
  CHECK(found->items.size() == 2);
  REQUIRE(dht::endorsed_by(*found, tag));
  CHECK(*dht::endorsed_by(*found, tag) == Value("owner's peer"));
  CHECK(dht::endorsed_by(*found, "[owner-ed25519:nobody]") == nullptr);
}
