#include "skep/sim/liar.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include "sim/seeds.hpp"

using namespace skep;
using codec::msgpack::Value;
using sim::Lie;
using sim::Swarm;
using skep_test::Trial;

namespace {

/// The first `count` nodes of a swarm lie.
void corrupt(Swarm& swarm, std::size_t count, const std::vector<Lie>& lies) {
  std::vector<p2p::PeerId> liars;
  std::vector<p2p::PeerId> honest;
  for (std::size_t i = 0; i < swarm.size(); ++i) (i < count ? liars : honest).push_back(swarm[i].peer_id());
  for (std::size_t i = 0; i < count; ++i) sim::corrupt(swarm[i], lies[i % lies.size()], liars, honest);
}
Swarm::Node& any_honest(Swarm& swarm, std::size_t liars) {
  return swarm[liars + static_cast<std::size_t>(swarm.world().random().below(swarm.size() - liars))];
}

}  // namespace

TEST_CASE("a coalition of a tenth cannot delete a record, make a get hang, or grow memory beyond its bounds") {
  skep_test::for_each_seed([](Trial& trial) {
    dht::NodeOptions each;
    each.cache_locally = false;
    each.cache_nearest = 0;
    each.storage.records = 2000;
    each.storage.bytes = 4 * 1024 * 1024;
    auto& swarm = trial.swarm({.nodes = 40, .latency = sim::normal(60ms, 20ms), .node = each});
    constexpr std::size_t liars = 4;
    std::vector<Lie> game{Lie::denies, Lie::garbage, Lie::hangs, Lie::neighbours, Lie::floods};
    if (trial.seed % 6 != 0) game = {game[trial.seed % 6 - 1]};
    const auto store = [&](int key) {
      const auto stored = swarm.run(any_honest(swarm, liars).store(key, key, swarm.any().now() + 1h));
      trial.expect(static_cast<bool>(stored), "key " + std::to_string(key) + " is not stored by a majority");
    };
    for (int key = 0; key < 6; ++key) store(key);
    corrupt(swarm, liars, game);
    swarm.run_for(10s);
    for (int key = 6; key < 12; ++key) store(key);
    for (int key = 0; key < 12; ++key) {
      const SteadyTime start = swarm.world().time().now();
      const auto found = swarm.run(any_honest(swarm, liars).get(key));
      const Duration took = swarm.world().time().now() - start;
      trial.expect(found && found->value == Value(key), "key " + std::to_string(key) + " is not found");
      trial.expect(took < 20s, "key " + std::to_string(key) + " took " + std::to_string(took / 1ms) + " ms");
    }
    for (std::size_t i = liars; i < swarm.size(); ++i) {
      const auto& node = swarm[i].protocol();
      trial.expect(node.storage.size() <= 2000 && node.cache.size() <= each.cache_size, "the storage overflows");
      trial.expect(node.table.size() <= swarm.size(),
                   "the routing table holds more peers than there are: " + std::to_string(node.table.size()));
      trial.expect(node.blacklist.size() <= dht::BlacklistOptions{}.capacity, "the blacklist grows");
      trial.expect(node.children.size() <= 40, std::to_string(node.children.size()) + " coroutines run");
    }
  });
}

TEST_CASE("Sybil ids near a key hide it, but not when replicas are taken from disjoint paths") {
  const auto run = [](Trial& trial, std::size_t paths) {
    dht::NodeOptions each;
    each.cache_locally = false;
    each.cache_nearest = 0;
    each.disjoint_paths = paths;
    auto& swarm = trial.swarm({.nodes = 36, .latency = sim::normal(60ms, 20ms), .node = each});
    constexpr std::size_t honest = 36;
    for (int i = 0; i < 12; ++i) {  // more than twice the replicas of one path
      dht::NodeOptions sybil = each;
      sybil.node_id = sim::detail::invented_near(dht::key_id("target"), swarm.world().random());
      sim::corrupt(swarm.add(sybil), Lie::denies);
    }
    (void)swarm.run(swarm[swarm.world().random().below(honest)].store("target", 1, swarm.any().now() + 1h));
    return swarm.run(swarm[swarm.world().random().below(honest)].get("target")).has_value();
  };
  std::size_t hidden = 0;
  std::size_t seeds = 0;
  skep_test::for_each_seed(
      [&](Trial& trial) {
        ++seeds;
        hidden += run(trial, 1) ? 0 : 1;
        trial.expect(run(trial, 4), "the key is hidden in spite of disjoint paths");
      },
      2);
  CHECK(hidden >= seeds * 3 / 4);  // the attack works
}
