#include "skep/sim/world.hpp"

#include <string>

#include <doctest/doctest.h>
#include "skep/sim/network.hpp"

using namespace skep;

namespace {
/// Four peers that answer "rpc".
struct Four {
  explicit Four(sim::WorldOptions options = {}) : world(std::move(options)) {
    for (int i = 0; i < 4; ++i) {
      hosts.emplace_back(world).handle("rpc", [](p2p::Request) -> awaitable<p2p::Payload> { co_return Bytes{1}; });
    }
  }
  bool reaches(std::size_t from, std::size_t to) {
    try {
      return !world.run(hosts[from].call(hosts[to].self(), "rpc", Bytes(1), {.timeout = 1s})).empty();
    } catch (const Error& error) {
      CHECK(error.code() == errc::timed_out);
      return false;
    }
  }
  sim::World world;
  std::vector<sim::Host> hosts;
};
}  // namespace

TEST_CASE("a partition cuts both ways until it heals") {
  Four four;
  four.world.partition({four.hosts[0].self(), four.hosts[1].self()});
  CHECK(four.reaches(0, 1));
  CHECK(four.reaches(2, 3));
  CHECK_FALSE(four.reaches(0, 2));
  CHECK_FALSE(four.reaches(3, 1));
  four.world.partition({four.hosts[3].self()});
  CHECK_FALSE(four.reaches(2, 3));
  four.world.heal();
  CHECK(four.reaches(0, 2));
  CHECK(four.reaches(3, 1));
}

TEST_CASE("an answer does not cross a partition that came after its request") {
  Four four({.latency = sim::constant(100ms)});
  Scope scope(four.world.time().executor());
  scope.spawn([&]() -> awaitable<void> {
    co_await four.world.time().sleep_until(SteadyTime(20ms));
    four.world.partition({four.hosts[0].self()});
  });
  CHECK_FALSE(four.reaches(0, 1));
}

TEST_CASE("who is dead neither hears nor is heard, and comes back") {
  Four four;
  four.world.kill(four.hosts[1].self());
  CHECK_FALSE(four.world.is_alive(four.hosts[1].self()));
  CHECK_FALSE(four.reaches(0, 1));
  CHECK_FALSE(four.reaches(1, 0));
  four.world.revive(four.hosts[1].self());
  CHECK(four.reaches(0, 1));
  four.world.kill(p2p::PeerId());  // nobody: nothing happens
  CHECK_FALSE(four.world.is_alive(p2p::PeerId()));
}

TEST_CASE("loss and latency can change on the way") {
  Four four({.latency = sim::constant(100ms), .keep_messages = 100});
  CHECK(four.reaches(0, 1));
  CHECK(four.world.time().now() == SteadyTime(100ms));
  four.world.set_latency(sim::constant(40ms));
  CHECK(four.reaches(0, 1));
  CHECK(four.world.time().now() == SteadyTime(140ms));
  four.world.set_loss(1);
  CHECK_FALSE(four.reaches(0, 1));
  CHECK(four.world.calls("rpc") == 3);
  CHECK(four.world.transcript().messages() == 5);
  CHECK(four.world.transcript().latest().back().fate == sim::Fate::lost);
}
