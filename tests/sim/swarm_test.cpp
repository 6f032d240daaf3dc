#include "skep/sim/swarm.hpp"

#include <sstream>
#include <string>

#include <doctest/doctest.h>

using namespace skep;

TEST_CASE("a swarm in virtual time: the same seed tells the same story") {
  const auto story = [](std::uint64_t seed) {
    sim::Swarm swarm({.nodes = 60, .latency = sim::normal(92ms, 32ms), .dead = 0.1, .seed = seed});
    swarm.run([](auto& node) -> awaitable<void> { co_await node.store("k", 1, node.now() + 1h); });
    std::size_t found = 0;
    const auto read = [&found](sim::Swarm::Node& node) -> awaitable<void> {
      const auto value = co_await node.get("k");
      found += value.has_value();
    };
    swarm.run(read, 20);
    CHECK(found == 20);
    std::ostringstream report;
    report << swarm.report() << '\n';
    return report.str();
  };
  const std::string once = story(7);
  CHECK(once == story(7));
  CHECK(once != story(8));
  CHECK(once.starts_with("60 nodes, 6 of them dead; "));
  CHECK(once.find("21 runs, 0 of them failed; p50 ") != std::string::npos);
}

TEST_CASE("runs that fail are counted, and the last messages can be read") {
  sim::Swarm swarm({.nodes = 8, .keep_messages = 5});
  const auto fail = [](sim::Swarm::Node& node) -> awaitable<void> {
    co_await node.find_nearest(node.id());
    throw Error(errc::invalid_argument, "no luck");
  };
  swarm.run(fail, 2);
  const auto report = swarm.report();
  CHECK(report.failures == 2);
  CHECK(report.first_failure == "skep: no luck");
  CHECK(report.messages > 0);
  CHECK(report.calls.contains("DHTProtocol.rpc_find"));
  CHECK(report.p50() > 0s);
  std::ostringstream timeline;
  swarm.print_timeline(timeline);
  const std::string lines = timeline.str();
  CHECK(std::count(lines.begin(), lines.end(), '\n') == 5);
  swarm.forget_the_past();
  CHECK(swarm.report().messages == 0);
  CHECK(swarm.report().runs.empty());
}

TEST_CASE("nodes die, are replaced, and are cut off") {
  sim::Swarm swarm({.nodes = 20});
  CHECK(swarm.living() == 20);
  swarm.kill(3);
  swarm.kill(3);
  CHECK(swarm.living() == 19);
  CHECK_FALSE(swarm.is_alive(3));
  swarm.replace(5);
  CHECK(swarm.living() == 19);
  CHECK(swarm.size() == 25);
  swarm.kill_share(1);
  CHECK(swarm.living() == 1);  // one stays
  CHECK(swarm.any().peer_id() == swarm[swarm.any_index()].peer_id());

  sim::Swarm parted({.nodes = 10, .node = {.cache_locally = false}});
  parted.run([](auto& node) -> awaitable<void> { co_await node.store("k", 1, node.now() + 1h); });
  parted.partition(0.5);
  parted.run_for(1s);
  std::size_t holders = 0;
  for (std::size_t i = 5; i < 10; ++i) holders += parted[i].record_count();
  CHECK(parted.run(parted[9].get("k")).has_value() == (holders > 0));
  parted.world().heal();
  CHECK(parted.run(parted[0].get("k")));
}
