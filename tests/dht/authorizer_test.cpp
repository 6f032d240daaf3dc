#include "skep/dht/authorizer.hpp"

#include <string>

#include "dht/password.hpp"
#include "dht/swarm.hpp"

#include <doctest/doctest.h>

using namespace skep;
using codec::msgpack::Value;
using skep_test::Node;

namespace {

struct Moderated {
  Node join(std::uint8_t word, std::vector<p2p::PeerId> peers = {}) {
    dht::NodeOptions options{.initial_peers = std::move(peers)};
    if (word != 255) options.authorizer = std::make_shared<skep_test::Password>(word);
    return world.run(Node::create(sim::Host(world), std::move(options)));
  }
  sim::World world;
};

}  // namespace

TEST_CASE("A10.4 members of a moderated swarm store and find; every call and answer is signed") {
  Moderated swarm;
  Node a = swarm.join(7);
  Node b = swarm.join(7, {a.peer_id()});
  const WallTime later = b.now() + 60s;
  CHECK(swarm.world.run(b.store("k", "v", later)).accepted == 2);
  CHECK(swarm.world.run(a.get("k", {.latest = true}))->value == Value("v"));
  CHECK(a.peer_count() == 1);
}

TEST_CASE("A10.4 who has no authorization, a wrong one or none to be had is refused with the reason") {
  Moderated swarm;
  Node a = swarm.join(7);
  for (const auto& [word, reason] : {std::pair{255, "carries no authorization"},  // Hivemind's default: none
                                     std::pair{8, "access token is not valid"}, std::pair{0, "no access"}}) {
    CAPTURE(word);
    std::string said;
    try {
      (void)swarm.join(static_cast<std::uint8_t>(word), {a.peer_id()});
    } catch (const Error& error) {
      said = error.what();
    }
    CHECK(said.find(reason) != std::string::npos);
  }
  CHECK(a.peer_count() == 0);
  CHECK(a.record_count() == 0);
}

TEST_CASE("A10.4 a member does not believe the answers of a node that is none") {
  Moderated swarm;
  Node open = swarm.join(255);
  CHECK_THROWS_WITH(swarm.join(7, {open.peer_id()}), doctest::Contains("carries no authorization"));
}
