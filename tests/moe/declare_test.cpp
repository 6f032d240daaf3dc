#include "skep/moe/declare.hpp"

#include <algorithm>
#include <set>
#include <tuple>

#include "skep/codec/dht_messages.hpp"
#include "skep/dht/ed25519_validator.hpp"
#include "skep/dht/key.hpp"
#include "skep/dht/node.hpp"
#include "skep/dht/record.hpp"
#include "skep/moe/beam_search.hpp"
#include "skep/moe/dht_store.hpp"
#include "skep/moe/withdraw.hpp"
#include "skep/sim/network.hpp"
#include "support/experts.hpp"
#include "support/simulated_nodes.hpp"
#include "support/vectors.hpp"
// doctest comes last
#include <doctest/doctest.h>

using namespace skep;
using Node = dht::Node<sim::Host>;

static_assert(moe::ExpertDirectory<Node>);

namespace {

std::vector<std::string> names(const std::vector<dht::StoreItem>& records) {
  std::vector<std::string> all;
  for (const auto& record : records) {
    std::string name = *record.key.get_if<std::string>();
    if (record.subkey) name += " [" + std::to_string(*record.subkey->get_if<std::int64_t>()) + "]";
    all.push_back(std::move(name));
  }
  std::sort(all.begin(), all.end());
  return all;
}

}  // namespace

TEST_CASE("C2.2 the records of a declaration are, byte for byte, those of a Hivemind server") {
  using Entry = std::tuple<Bytes, Bytes, Bytes, double>;  // key, subkey, value, expiration
  std::set<Entry> hivemind;
  for (const Bytes& bytes : skep_test::vector_list("moe", "declare_experts", "requests")) {
    const auto request = codec::StoreRequest::decode(bytes);
    REQUIRE(request);
    for (std::size_t i = 0; i < request->keys.size(); ++i) {
      hivemind.emplace(request->keys[i], request->subkeys[i], request->values[i], request->expiration_times[i]);
    }
  }
  REQUIRE(hivemind.size() >= 14);
  const WallTime expiration{std::get<3>(*hivemind.begin())};
  const auto peer = p2p::PeerId::from_bytes(skep_test::vector_bytes("moe", "declare_experts", "peer"));
  REQUIRE(peer);
  std::set<Entry> ours;
  for (const auto& record : moe::expert_records(
           {"nop.0", "affine.5.7", "affine.5.9.2", "two.1.1", "wide.0", "half.0", "uni.0"}, *peer, expiration)) {
    ours.emplace(to_bytes(dht::key_id(record.key).bytes()),
                 record.subkey ? codec::msgpack::encode(*record.subkey) : dht::regular_tag(),
                 codec::msgpack::encode(record.value), record.expiration.seconds);
  }
  CHECK(ours == hivemind);
}

TEST_CASE("C2.2 how many records there are") {
  CHECK(names(moe::expert_records({"ffn.1", "ffn.2"}, test::peer(1), {})) ==
        std::vector<std::string>{"ffn.1", "ffn.1. [-1]", "ffn.2", "ffn.2. [-1]"});
  CHECK(names(moe::expert_records({"e.1.2.3", "e.1.2.5", "e.2.0"}, test::peer(1), {})) ==
        std::vector<std::string>{"e.1. [2]", "e.1.2. [3]", "e.1.2. [5]", "e.1.2.3", "e.1.2.5", "e.2. [0]", "e.2.0"});
  CHECK(moe::expert_records({}, test::peer(1), {}).empty());
}

TEST_CASE("C2.1 an invalid uid is refused with a sentence") {
  try {
    (void)moe::expert_records({"ffn.0", "ffn"}, test::peer(1), {});
    FAIL("nothing was thrown");
  } catch (const Error& error) {
    CHECK(error.code() == make_error_code(errc::invalid_argument));
    CHECK(std::string(error.what()).starts_with("skep: \"ffn\" is not an expert uid"));
  }
}

TEST_CASE("B3.3 what is declared is found by every node, until it expires") {
  sim::World world;
  auto nodes = test::simulated_nodes(world, 8);
  world.run([&]() -> awaitable<void> {
    Node server = nodes[3];
    const auto declared = co_await moe::declare_experts(server, {"ffn.0.1", "ffn.7"}, server.now() + 60s);
    CHECK(declared.size() == 4);
    for (const auto& record : declared) CHECK(record.stored);
    CHECK(std::count_if(declared.begin(), declared.end(), [](const auto& r) { return r.coordinate == 1; }) == 1);

    const auto found = co_await moe::get_experts(nodes[6], {"ffn.7", "ffn.8", "no uid", "ffn.0.1", "ffn.0."});
    REQUIRE(found.size() == 5);
    REQUIRE(found[0]);
    CHECK(*found[0] == moe::ExpertInfo{"ffn.7", server.peer_id()});
    CHECK_FALSE(found[1]);
    CHECK_FALSE(found[2]);
    REQUIRE(found[3]);
    CHECK(found[3]->uid == "ffn.0.1");
    CHECK_FALSE(found[4]);  // a prefix's dictionary is no expert
    co_await server.network().sleep_until(server.network().steady_now() + 61s);
    const auto later = co_await moe::get_experts(nodes[5], {"ffn.7"});
    CHECK_FALSE(later[0]);
  }());
}

TEST_CASE("B3.3 records that are no peer id are no experts") {
  sim::World world;
  auto nodes = test::simulated_nodes(world, 3);
  world.run([&]() -> awaitable<void> {
    Node& node = nodes[0];
    co_await node.store("ffn.0", "not a peer id", node.now() + 60s);
    co_await node.store("ffn.1", 17, node.now() + 60s);
    co_await node.store("ffn.2", to_bytes(node.peer_id().bytes()), node.now() + 60s);
    const auto found = co_await moe::get_experts(nodes[1], {"ffn.0", "ffn.1", "ffn.2"});
    for (const auto& expert : found) CHECK_FALSE(expert);
  }());
}

TEST_CASE("B6.15, H-9: a declaration outlives the negative entry that a Hivemind client left for a flat expert") {
  sim::World world;
  auto nodes = test::simulated_nodes(world, 4);
  world.run([&]() -> awaitable<void> {
    Node client = nodes[1];
    Node server = nodes[2];
    co_await client.store_subkey("ffn.3.", -1, {}, client.now() + 300s);
    const WallTime wanted = server.now() + 60s;
    const auto declared = co_await moe::declare_experts(server, {"ffn.3"}, wanted);
    for (const auto& record : declared) CHECK(record.stored);
    const auto found = co_await nodes[3].get("ffn.3.", {.latest = true});
    REQUIRE(found);
    const auto* item = found->find(-1);
    REQUIRE(item != nullptr);
    CHECK(moe::detail::endpoint_of_value(item->value) == moe::ExpertInfo{"ffn.3", server.peer_id()});
    CHECK(item->expiration > wanted + 230s);
  }());
}

TEST_CASE("a declaration says who stands where it was rejected") {
  sim::World world;
  auto nodes = test::simulated_nodes(world, 4);
  world.run([&]() -> awaitable<void> {
    Node first = nodes[1];
    Node second = nodes[2];
    co_await moe::declare_experts(first, {"ffn.3.5"}, first.now() + 300s);
    const auto declared = co_await moe::declare_experts(second, {"ffn.3.5", "ffn.3.6"}, second.now() + 60s);
    REQUIRE(declared.size() == 4);
    for (const auto& record : declared) {
      const bool taken = record.key == "ffn.3.5" || record.coordinate == 5;
      CHECK(bool(record.stored) != taken);
      CHECK(record.other.has_value() == taken);
      if (taken) CHECK(record.other->peer_id == first.peer_id());
      CHECK(record.visible() == (record.key != "ffn.3.5"));
    }
  }());
}

TEST_CASE("a declaration that meets an earlier one of the same server, which lives longer, is visible by that") {
  sim::World world;
  auto nodes = test::simulated_nodes(world, 4);
  world.run([&]() -> awaitable<void> {
    Node server = nodes[1];
    co_await moe::declare_experts(server, {"ffn.3"}, server.now() + 3600s);
    const auto declared = co_await moe::declare_experts(server, {"ffn.3"}, server.now() + 60s);
    REQUIRE(declared.size() == 2);
    CHECK_FALSE(declared[0].stored);
    CHECK(declared[0].own);
    CHECK(declared[0].visible());
    CHECK(declared[1].visible());
  }());
}

TEST_CASE("H-37 a declaration endorsed by its owner cannot be taken over, and is read by everybody as any other") {
  using Signed = dht::Ed25519SignatureValidator;
  using SignedNode = dht::Node<sim::Host, Signed>;
  sim::World world;
  const auto join = [&](std::vector<p2p::PeerId> peers) {
    return world.run(SignedNode::create(sim::Host(world), {.initial_peers = std::move(peers)},
                                        Signed(crypto::Ed25519KeyPair::generate())));
  };
  SignedNode owner = join({});
  SignedNode attacker = join({owner.peer_id()});
  SignedNode member = join({owner.peer_id()});
  Node anybody = world.run(Node::create(sim::Host(world), {.initial_peers = {owner.peer_id()}}));  // checks nothing
  const std::string tag = owner.protocol().validator.owner_tag();
  const std::vector<std::string> uids{"ffn.1", "ffn.2"};
  const WallTime until = owner.now() + 60s;

  const auto declared = world.run(moe::declare_experts(owner, uids, until, {}, tag));
  REQUIRE(declared.size() == 6);  // of each its uid, its place below "ffn.", and the endorsement
  for (const auto& record : declared) CHECK(record.visible());
  CHECK(declared[4].endorsement);
  CHECK(declared[4].key == "ffn.1");
  CHECK_FALSE(declared[3].endorsement);

  // for readers that know of no owners the records are Hivemind's
  CHECK(world.run(moe::get_experts(anybody, uids)).at(1)->peer_id == owner.peer_id());
  moe::MoEBeamSearcher searcher(moe::DhtStore{anybody}, "ffn.", {4});
  const auto best = world.run(searcher.find_best_experts({{0, 2, 1, 0}}, 2));
  REQUIRE(best.size() == 2);
  CHECK(best[0].uid == "ffn.1");
  CHECK(best[0].peer_id == owner.peer_id());

  // whoever declares later takes the plain records over, but not the owner's word
  const auto stolen = world.run(moe::declare_experts(attacker, uids, until + 10s, {}, tag));
  CHECK(stolen[0].stored);
  CHECK_FALSE(stolen[4].visible());
  (void)world.run(moe::declare_experts(attacker, uids, until + 10s, {}, attacker.protocol().validator.owner_tag()));
  CHECK(world.run(moe::get_experts(member, uids, {.latest = true})).at(0)->peer_id == attacker.peer_id());
  const auto trusted = [&] {
    return world.run(moe::get_endorsed_experts(member, {"ffn.2", "ffn.3"}, tag, {.latest = true}));
  };
  REQUIRE(trusted()[0]);
  CHECK(trusted()[0]->peer_id == owner.peer_id());
  CHECK_FALSE(trusted()[1]);

  (void)world.run(moe::withdraw_experts(owner, uids, until, {}, tag));
  CHECK_FALSE(trusted()[0]);
}
