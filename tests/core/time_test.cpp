#include "skep/core/time.hpp"

#include <doctest/doctest.h>

#include <limits>

using namespace skep;

TEST_CASE("a deadline is the start plus the wait") {
  const SteadyTime now{Duration(1000)};
  CHECK(deadline_after(now, 5ns) == SteadyTime(Duration(1005)));
  CHECK(deadline_after(now, 0ns) == now);
  CHECK(deadline_after(now, -5ns) == SteadyTime(Duration(995)));
}

TEST_CASE("an unlimited wait never ends, and no wait wraps around") {
  const SteadyTime late = SteadyTime::max() - 5ns;
  CHECK(deadline_after(SteadyTime(Duration(1)), unlimited) == SteadyTime::max());
  CHECK(deadline_after(late, 10ns) == SteadyTime::max());
  CHECK(deadline_after(late, unlimited - 1ns) == SteadyTime::max());
  CHECK(deadline_after(late, 5ns) == SteadyTime::max());
}

TEST_CASE("wall time is seconds, compared and shifted") {
  const WallTime t{1700000000.5};
  CHECK((t + 1500ms).seconds == 1700000002.0);
  CHECK((t - 500ms).seconds == 1700000000.0);
  CHECK(t < t + 1ms);
  CHECK((t + 2s) - t == std::chrono::duration<double>(2));
  CHECK(WallTime{std::numeric_limits<double>::infinity()} > t);
}

TEST_CASE("records expire so long from now") {
  const WallTime before = system_wall_now();
  const WallTime end = expires_in(1min);
  const WallTime after = system_wall_now();
  CHECK(before.seconds > 1.6e9);
  CHECK(end >= before + 60s);
  CHECK(end <= after + 60s);
}
