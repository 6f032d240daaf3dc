#include "skep/dht/bootstrap.hpp"

#include <string>

#include <doctest/doctest.h>
#include "dht/swarm.hpp"
#include "skep/sim/network.hpp"

using namespace skep;
using dht::NodeOptions;
using skep_test::Node;
using skep_test::Swarm;

namespace {
/// Joins and gives the words of the failure, or nothing.
std::string failure_of(sim::World& world, sim::Host host, NodeOptions options) {
  try {
    (void)world.run(Node::create(host, std::move(options)));
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}
bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }
}  // namespace

TEST_CASE("A2.1 joining takes a few round trips, even when some initial peers are dead") {
  Swarm swarm(4);
  swarm.kill(swarm.nodes[0]);
  NodeOptions options;
  for (const auto& node : swarm.nodes) options.initial_peers.push_back(node.peer_id());
  const auto start = swarm.world.time().now();
  const Node node = swarm.run(Node::create(sim::Host(swarm.world), options));
  CHECK(swarm.world.time().now() - start < 1500ms);
  CHECK(node.peer_count() >= 3);
}

TEST_CASE("A2.2 when no initial peer answers the error names them and says what to do") {
  Swarm swarm(2);
  NodeOptions options;
  for (auto& node : swarm.nodes) {
    swarm.kill(node);
    options.initial_peers.push_back(node.peer_id());
  }
  options.initial_peers.push_back(*p2p::PeerId::from_bytes(Bytes{0, 1, 1}));
  const auto start = swarm.world.time().now();
  const std::string text = failure_of(swarm.world, sim::Host(swarm.world), options);
  CHECK(swarm.world.time().now() - start <= 3s);
  CHECK(contains(text, "cannot join the DHT: none of the 3 initial peers answered a ping"));
  for (const auto& peer : options.initial_peers) CHECK(contains(text, peer.to_string()));  // each with its answer
  CHECK(contains(text, "did not answer in time"));
  CHECK(contains(text, "cannot reach"));
  CHECK(contains(text, "ensure_bootstrap_success"));
  options.ensure_bootstrap_success = false;
  CHECK(failure_of(swarm.world, sim::Host(swarm.world), options).empty());
}

TEST_CASE("A2.3 a wrong clock is refused, or only warned about when not strict") {
  Swarm swarm(1);
  sim::Host late(swarm.world);
  late.skew_wall_clock(-10s);
  NodeOptions options{.initial_peers = {swarm.nodes[0].peer_id()}};
  const std::string text = failure_of(swarm.world, late, options);
  CHECK(contains(text, swarm.nodes[0].peer_id().to_string()));
  CHECK(contains(text, "differ by 10 s"));
  options.strict = false;
  CHECK(failure_of(swarm.world, late, options).empty());
  sim::Host close_enough(swarm.world);
  close_enough.skew_wall_clock(2900ms);
  options.strict = true;
  CHECK(failure_of(swarm.world, close_enough, options).empty());
}

TEST_CASE("A4.3 a node that cannot be called back is refused, a client is not") {
  Swarm swarm(1);
  sim::Host deaf(swarm.world);
  NodeOptions options{.initial_peers = {swarm.nodes[0].peer_id()}};
  // deaf: its peer calls it back and finds no such method
  auto protocol = std::make_shared<dht::Protocol<sim::Host, dht::AcceptAll>>(deaf, options, dht::AcceptAll{});
  const auto start = swarm.world.time().now();
  const auto greet = [&] { return dht::detail::greet_all(protocol, start, start + 3s); };
  CHECK_THROWS_WITH_AS(swarm.run(greet()), doctest::Contains("cannot call this node back"), Error);
  CHECK(swarm.nodes[0].peer_count() == 0);
  options.client_mode = true;
  CHECK(failure_of(swarm.world, sim::Host(swarm.world), options).empty());
  protocol->close();
}

TEST_CASE("a client cannot be an initial peer") {
  Swarm swarm(1);
  Node& client = swarm.add({.client_mode = true});
  const std::string text = failure_of(swarm.world, sim::Host(swarm.world), {.initial_peers = {client.peer_id()}});
  CHECK(contains(text, "none of the 1 initial peers"));
}

TEST_CASE("A2.4 the swarm becomes known while joining") {
  Swarm swarm(60);
  const Node& node = swarm.add();
  CHECK(node.peer_count() >= 20);
}

TEST_CASE("a node that lost everybody finds back through its initial peers") {
  Swarm swarm(2);
  Node& first = swarm.nodes[0];
  Node& second = swarm.nodes[1];
  swarm.kill(first);
  CHECK_FALSE(swarm.run(second.get("k")));
  swarm.world.time().run_for(10s);
  CHECK(second.peer_count() == 0);
  swarm.world.revive(first.peer_id());
  CHECK(swarm.run(first.store("k", 1, swarm.in(60))));
  CHECK(swarm.run(second.get("k")));
  CHECK(second.peer_count() == 1);
}

TEST_CASE("a node that waits for answers without limit joins, loses everybody, and finds back") {
  Swarm swarm(3);
  NodeOptions options{.initial_peers = {swarm.nodes[0].peer_id()}, .wait_timeout = unlimited};
  Node node = swarm.run(Node::create(sim::Host(swarm.world), options));
  CHECK(swarm.run(swarm.nodes[1].store("k", 1, swarm.in(600))));
  swarm.world.time().run_for(1s);
  for (int outage = 0; outage < 2; ++outage) {
    for (auto& other : swarm.nodes) node.protocol().table.silent(other.id());
    REQUIRE(node.peer_count() == 0);
    node.protocol().storage.erase(dht::key_id("k"));
    CHECK(swarm.run(node.get("k", {.timeout = 5s, .use_cache = false})));
    swarm.world.time().run_for(10s);
  }
}

TEST_CASE("A6.6 H-33 a node whose clock is wrong goes by the swarm's clock when it is not strict") {
  Swarm swarm(6);
  for (const auto skew : {-100s, 100s}) {
    sim::Host wrong(swarm.world);
    wrong.skew_wall_clock(skew);
    Node node = swarm.run(Node::create(wrong, {.initial_peers = {swarm.nodes[0].peer_id()}, .strict = false}));
    CHECK(std::abs((node.now() - swarm.nodes[0].now()).count()) < 0.1);
    const std::string key = skew < 0s ? "slow" : "fast";
    CHECK(swarm.run(node.store(key, 1, node.now() + 30s)));
    CHECK(swarm.run(swarm.nodes[3].store(key + "2", 1, swarm.in(30))));
    CHECK(swarm.run(node.get(key + "2")));
    swarm.world.time().run_for(29s);
    CHECK(swarm.run(swarm.nodes[4].get(key)));
    CHECK(swarm.run(node.get(key)));
    swarm.world.time().run_for(2s);
    CHECK_FALSE(swarm.run(swarm.nodes[4].get(key)));
    CHECK_FALSE(swarm.run(node.get(key)));
    node.close();
  }
}

TEST_CASE("A2 bootstrap_timeout is wait_timeout unless it is given") {
  Swarm swarm(1);
  swarm.kill(swarm.nodes[0]);
  NodeOptions options{.initial_peers = {swarm.nodes[0].peer_id()}, .wait_timeout = 700ms};
  for (const auto limit : {700ms, 300ms}) {
    if (limit == 300ms) options.bootstrap_timeout = 300ms;
    const auto start = swarm.world.time().now();
    CHECK_FALSE(failure_of(swarm.world, sim::Host(swarm.world), options).empty());
    CHECK(swarm.world.time().now() - start == limit);
  }
}
