#include "skep/sim/timeline.hpp"

#include <string>
#include <vector>

#include <doctest/doctest.h>
#include "skep/async/scope.hpp"
#include "skep/async/with_timeout.hpp"

using namespace skep;

namespace {
struct VirtualClock {
  sim::Timeline& time;
  SteadyTime steady_now() const { return time.now(); }
  awaitable<void> sleep_until(SteadyTime when) { return time.sleep_until(when); }
  Executor executor() { return time.executor(); }
};
}  // namespace

TEST_CASE("a sleep of a year costs nothing, and sleepers wake in order") {
  sim::Timeline time;
  std::string order;
  Scope scope(time.executor());
  const auto sleeper = [&](char name, Duration span) -> awaitable<void> {
    co_await time.sleep_until(time.now() + span);
    order += name;
  };
  scope.spawn(sleeper('c', 24h * 365));
  scope.spawn(sleeper('a', 1s));
  scope.spawn(sleeper('b', 1s));
  time.run(scope.join());
  CHECK(order == "abc");
  CHECK(time.now() == SteadyTime(24h * 365));
  CHECK(time.wall_now() == WallTime{1.7e9 + 365 * 86400});
}

TEST_CASE("a coroutine that nothing can wake is reported") {
  sim::Timeline time;
  CHECK_THROWS_AS(time.run(time.sleep_until(SteadyTime::max())), Error);
}

TEST_CASE("time limits work in virtual time and leave nobody asleep") {
  sim::Timeline time;
  VirtualClock clock{time};
  const auto body = [&]() -> awaitable<void> { co_await with_timeout(clock, 10s, time.sleep_until(time.now() + 1h)); };
  CHECK_THROWS_AS(time.run(body()), Error);
  CHECK(time.now() == SteadyTime(10s));
  const auto quick = [&]() -> awaitable<int> {
    co_await with_timeout(clock, 1h, time.sleep_until(time.now() + 1s));
    co_return 7;
  };
  CHECK(time.run(quick()) == 7);
  CHECK(time.now() == SteadyTime(11s));
}

TEST_CASE("run_for lets time pass for those who go on in the background") {
  sim::Timeline time;
  Scope scope(time.executor());
  int ticks = 0;
  scope.spawn([&]() -> awaitable<void> {
    for (;;) {
      co_await time.sleep_until(time.now() + 1s);
      ++ticks;
    }
  });
  time.run_for(10500ms);
  CHECK(ticks == 10);
  CHECK(time.now() == SteadyTime(10500ms));
  scope.cancel();
  time.run(scope.join());
}

TEST_CASE("a timeline may end while somebody sleeps in it") {
  int destroyed = 0;
  struct Count {
    int& n;
    ~Count() { ++n; }
  };
  {
    sim::Timeline time;
    Scope scope(time.executor());
    scope.spawn([](sim::Timeline& t, int& n) -> awaitable<void> {
      Count count{n};
      co_await t.sleep_until(t.now() + 1h);
    }(time, destroyed));
    time.run_for(1s);
  }
  CHECK(destroyed == 1);
}

TEST_CASE("an alarm calls back once, unless it was destroyed before") {
  sim::Timeline time;
  int calls = 0;
  {
    const sim::Timeline::Alarm rings(time, SteadyTime(1s), [&] { ++calls; });
    const sim::Timeline::Alarm never(time, SteadyTime::max(), [&] { calls += 10; });
    time.run_for(5s);
    CHECK(calls == 1);
    const sim::Timeline::Alarm stopped(time, SteadyTime(9s), [&] { calls += 100; });
  }
  time.run_for(10s);
  CHECK(calls == 1);
}
