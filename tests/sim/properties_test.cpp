// What holds in every swarm, whatever happens to it: tried with many seeds in virtual time.
#include "skep/sim/swarm.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include "sim/seeds.hpp"

using namespace skep;
using codec::msgpack::Value;
using sim::Swarm;
using skep_test::Trial;

namespace {

constexpr std::size_t keys = 10;

awaitable<void> store(Swarm::Node node, std::size_t key, WallTime expiration) {
  if (key % 2 == 0) {
    co_await node.store("k" + std::to_string(key), static_cast<int>(key), expiration);
  } else {
    co_await node.store_subkey("k" + std::to_string(key), "s", static_cast<int>(key), expiration);
  }
}
bool is_right(const std::optional<dht::Found>& found, std::size_t key) {
  if (!found) return false;
  const Value wanted(static_cast<int>(key));
  if (key % 2 == 0) return found->value == wanted;
  const auto* const item = found->find("s");
  return item != nullptr && item->value == wanted;
}

/// Whether a living node keeps a record.
bool is_kept(Swarm& swarm, std::size_t key) {
  for (std::size_t i = 0; i < swarm.size(); ++i) {
    if (!swarm.is_alive(i)) continue;
    if (swarm[i].protocol().storage.find(dht::key_id("k" + std::to_string(key)), swarm[i].now())) return true;
  }
  return false;
}

}  // namespace

TEST_CASE("J6 every stored key of which a replica lives is found, with up to half of the nodes dead") {
  skep_test::for_each_seed([](Trial& trial) {
    const double dead = 0.1 * static_cast<double>(1 + trial.seed % 5);
    auto& swarm = trial.swarm({.nodes = 40,
                               .latency = sim::normal(92ms, 32ms),
                               .node = {.cache_locally = false, .cache_nearest = 0, .cache_on_store = false}});
    for (std::size_t i = 0; i < swarm.size(); ++i) {  // clocks differ by up to a second
      sim::Host(swarm[i].network()).skew_wall_clock(std::chrono::duration<double>(swarm.world().random().unit()));
    }
    for (std::size_t key = 0; key < keys; ++key) swarm.run(store(swarm.any(), key, swarm.any().now() + 1h));
    swarm.kill_share(dead);
    std::size_t lost = 0;
    for (std::size_t key = 0; key < keys; ++key) {
      const bool kept = is_kept(swarm, key);
      lost += kept ? 0 : 1;
      const auto found = swarm.run(swarm.any().get("k" + std::to_string(key)));
      trial.expect(is_right(found, key) == kept, "k" + std::to_string(key) + (kept ? " is kept but not found" : "?"));
    }
    trial.expect(lost <= (dead < 0.45 ? 2 : 4), std::to_string(lost) + " keys lost all of their replicas");
  });
}

TEST_CASE("J6 every stored key is found with up to half of the nodes dead, when num_replicas is raised to 20") {
  skep_test::for_each_seed(
      [](Trial& trial) {
        auto& swarm = trial.swarm({.nodes = 40,
                                   .latency = sim::normal(92ms, 32ms),
                                   .node = {.num_replicas = 20, .cache_locally = false, .cache_nearest = 0}});
        for (std::size_t key = 0; key < keys; ++key) swarm.run(store(swarm.any(), key, swarm.any().now() + 1h));
        swarm.kill_share(0.5);
        for (std::size_t key = 0; key < keys; ++key) {
          const auto found = swarm.run(swarm.any().get("k" + std::to_string(key)));
          trial.expect(is_right(found, key), "k" + std::to_string(key) + " is not found");
        }
      },
      5);
}

TEST_CASE("no call outlives its deadline: messages are lost, nodes die and are replaced") {
  const auto run = [](Trial& trial) {
    auto& swarm = trial.swarm({.nodes = 24, .latency = sim::exponential(80ms), .loss = 0.2, .dead = 0.3});
    auto& random = swarm.world().random();
    for (std::size_t call = 0; call < 24; ++call) {
      if (call % 8 == 4) {
        swarm.world().set_loss(0);  // a newcomer must get through
        swarm.replace(1);
        swarm.world().set_loss(0.2);
      }
      const Duration timeout = std::chrono::milliseconds(20 + random.below(4000));
      Swarm::Node node = swarm.any();
      const SteadyTime start = swarm.world().time().now();
      const std::string key = "k" + std::to_string(random.below(6));
      switch (call % 5) {
        case 0: swarm.run(node.store(key, 1, node.now() + 60s, {.timeout = timeout})); break;
        case 1: swarm.run(node.get(key, {.timeout = timeout})); break;
        case 2: swarm.run(node.get(key, {.latest = true, .timeout = timeout})); break;
        case 3: swarm.run(node.find_nearest(dht::key_id(key), {.timeout = timeout})); break;
        default: swarm.run(node.get_many({"k1", "k2", "k3", "k4"}, {.timeout = timeout, .num_workers = 2})); break;
      }
      const Duration took = swarm.world().time().now() - start;
      trial.expect(took <= timeout, "call " + std::to_string(call) + " took " + std::to_string(took.count()) +
                                        " ns of " + std::to_string(timeout.count()));
    }
    return swarm.report().transcript;
  };
  skep_test::for_each_seed([&](Trial& trial) { run(trial); });
  Trial once(1, false);
  Trial again(1, false);
  Trial other(2, false);
  const auto transcript = run(once);
  CHECK(transcript == run(again));
  CHECK(transcript != run(other));
}

TEST_CASE("routing tables converge after a partition heals") {
  skep_test::for_each_seed(
      [](Trial& trial) {
        auto& swarm =
            trial.swarm({.nodes = 24, .latency = sim::constant(40ms), .node = {.refresh_timeout = Duration(30s)}});
        const auto known_across = [&] {
          std::size_t known = 0;
          for (std::size_t i = 0; i < 12; ++i) {
            for (std::size_t j = 12; j < 24; ++j) known += swarm[i].protocol().table.find(swarm[j].id()) != nullptr;
          }
          return known;
        };
        const std::size_t before = known_across();
        swarm.partition(0.5);
        swarm.run_for(2min);
        trial.expect(known_across() < before, "nobody noticed the partition");
        swarm.world().heal();
        swarm.run_for(3min);
        for (std::size_t i = 0; i < swarm.size(); i += 3) {
          const auto target = dht::DHTID::random(swarm.world().random());
          std::vector<dht::DHTID> nearest;
          for (auto& node : swarm.nodes()) nearest.push_back(node.id());
          std::sort(nearest.begin(), nearest.end(),
                    [&](const auto& a, const auto& b) { return (a ^ target) < (b ^ target); });
          const auto found = swarm.run(swarm[i].find_nearest(target, {.k_nearest = 5}));
          bool exact = found.size() == 5;
          for (std::size_t n = 0; exact && n < 5; ++n) exact = found[n].id == nearest[n];
          trial.expect(exact, "node " + std::to_string(i) + " does not find the nearest");
        }
      },
      5);
}
