#include "skep/dht/signature_validator.hpp"

#include <deque>
#include <string>
#include <utility>

#include "skep/codec/dht_messages.hpp"
#include "skep/dht/node.hpp"
#include "skep/dht/rsa_validator.hpp"
#include "skep/sim/network.hpp"

#include <doctest/doctest.h>

using namespace skep;
using codec::msgpack::encode;
using codec::msgpack::Value;
using crypto::RsaPrivateKey;
using dht::RsaSignatureValidator;
using Node = dht::Node<sim::Host, RsaSignatureValidator>;

namespace {

/// A swarm whose nodes have an RSA key each.
struct Signing {
  Node& join() {
    dht::NodeOptions options;
    if (!nodes.empty()) options.initial_peers = {nodes.back().peer_id()};
    nodes.push_back(
        world.run(Node::create(sim::Host(world), options, RsaSignatureValidator(RsaPrivateKey::generate()))));
    return nodes.back();
  }
  bool store(Node& node, Value subkey, Value value, double seconds) {
    const WallTime at{world.time().wall_now().seconds + seconds};
    return static_cast<bool>(world.run(node.store_subkey("experiment", std::move(subkey), std::move(value), at)));
  }
  /// What a node finds under a subkey, asking everybody.
  Value read(Node& node, const Value& subkey) {
    const auto found = world.run(node.get("experiment", {.latest = true}));
    const auto* const item = found ? found->find(subkey) : nullptr;
    return item ? item->value : Value();
  }
  sim::World world;
  std::deque<Node> nodes;
};

Value tagged(const Node& owner) { return to_bytes("state" + owner.protocol().validator.owner_tag()); }

}  // namespace

TEST_CASE("A8.4 the owner's updates pass, others' are refused everywhere, also when the owner is away") {
  Signing swarm;
  Node& owner = swarm.join();
  Node& attacker = swarm.join();
  Node& reader = swarm.join();
  const Value subkey = tagged(owner);
  CHECK(swarm.store(owner, subkey, 1, 60));
  CHECK(swarm.store(owner, subkey, 2, 61));
  CHECK(swarm.read(reader, subkey) == Value(2));
  CHECK(swarm.read(owner, subkey) == Value(2));
  CHECK_FALSE(swarm.store(attacker, subkey, 3, 62));  // his own node is no exception
  CHECK(swarm.read(reader, subkey) == Value(2));
  CHECK(swarm.store(attacker, "unprotected", 3, 62));
  CHECK(swarm.read(reader, "unprotected") == Value(3));

  swarm.world.kill(owner.peer_id());
  CHECK_FALSE(swarm.store(attacker, subkey, 3, 63));
  Node& newcomer = swarm.join();
  CHECK(swarm.read(newcomer, subkey) == Value(2));
}

TEST_CASE("A8.4 what a peer finds for us without its owner's signature is not believed, and counts against the peer") {
  Signing swarm;
  Node& owner = swarm.join();
  const Value subkey = tagged(owner);
  // A node that accepts all: it holds the attacker's forgery and gives it to everyone.
  auto liar =
      swarm.world.run(dht::Node<sim::Host>::create(sim::Host(swarm.world), {.initial_peers = {owner.peer_id()}}));
  const WallTime later{owner.now().seconds + 60};
  CHECK_FALSE(swarm.world.run(liar.store_subkey("experiment", subkey, "forged", later)));
  CHECK(liar.record_count() == 1);
  Node& reader = swarm.join();
  (void)swarm.world.run(reader.find_nearest(reader.id()));  // gets to know the liar
  CHECK(swarm.read(reader, subkey).is_nil());
  CHECK(reader.protocol().banned(liar.peer_id()));
}

TEST_CASE("A9.3 H-17 storing under a key with an owner's tag throws; in Hivemind it protects nothing") {
  Signing swarm;
  Node& owner = swarm.join();
  const std::string key = "state" + owner.protocol().validator.owner_tag();
  CHECK_THROWS_WITH((void)swarm.world.run(owner.store(key, 1, owner.now() + 60s)),
                    doctest::Contains("put it into the subkey"));
  CHECK_THROWS_WITH((void)swarm.world.run(owner.store_subkey(to_bytes(key), 1, 1, owner.now() + 60s)),
                    doctest::Contains("put it into the subkey"));
}

TEST_CASE("a subkey is judged by the name under which it is kept, however it was written") {
  Signing swarm;
  Node& node = swarm.join();
  const auto& validator = node.protocol().validator;
  const dht::DHTID key = dht::key_id("experiment");
  const WallTime later = node.now() + 60s;
  const Bytes shortest = encode(tagged(node));
  Bytes longer = shortest;  // c5, a length of two bytes: the same with four
  longer.erase(longer.begin());
  longer.insert(longer.begin(), {0xc6, 0, 0});
  const Bytes value = encode(1);
  const Bytes by_long_name = validator.sign({key, longer, value, later});
  const Bytes by_short_name = validator.sign({key, shortest, value, later});
  const auto keep = [&](const Bytes& subkey, const Bytes& signed_value) {
    return node.protocol().keep({key, subkey, signed_value, later}, false, node.now());
  };
  CHECK_FALSE(keep(longer, by_long_name));  // nobody could check it later
  CHECK(keep(longer, by_short_name));
  CHECK(swarm.read(node, tagged(node)) == Value(1));
}

TEST_CASE("A9.2 a validator without a key checks what others signed, and signs nothing") {
  const RsaSignatureValidator owner(RsaPrivateKey::generate());
  auto checking = RsaSignatureValidator::checking_only();
  CHECK(checking.owner_tag().empty());
  CHECK(checking.private_key() == nullptr);
  const Bytes subkey = encode(to_bytes(owner.owner_tag()));
  const Bytes value = encode(Value(7));
  const dht::RecordView bare{.key = {}, .subkey = subkey, .value = value, .expiration = {}};
  CHECK(checking.sign(bare) == value);
  CHECK_FALSE(checking.validate(bare));
  const Bytes with_signature = owner.sign(bare);
  const dht::RecordView signed_one{.key = {}, .subkey = subkey, .value = with_signature, .expiration = {}};
  CHECK(checking.validate(signed_one));
  CHECK(checking.strip(signed_one, with_signature) == value);
  const Bytes other = encode(Value("nobody's"));
  CHECK(checking.validate({.key = {}, .subkey = other, .value = value, .expiration = {}}));
}
