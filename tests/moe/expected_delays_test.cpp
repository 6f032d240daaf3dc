#include "skep/moe/expected_delays.hpp"

#include "support/experts.hpp"
// doctest comes last
#include <doctest/doctest.h>

using namespace skep;
using moe::ExpectedDelays;
using test::peer;

TEST_CASE("what was learned last of a server holds, until it is over") {
  ExpectedDelays delays;
  const SteadyTime start{100s};
  CHECK(delays.of(peer(1), start) == 0s);
  delays.published(peer(1), 80ms, start + 10s, start);
  CHECK(delays.of(peer(1), start + 9s) == 80ms);
  CHECK(delays.of(peer(2), start) == 0s);
  CHECK(delays.of(peer(1), start + 10s) == 0s);

  delays.measured(peer(1), 40ms, start);  // an average with what was published
  CHECK(delays.of(peer(1), start) == 70ms);
  delays.published(peer(1), 80ms, start + 10s, start + 1s);  // read once more: no news
  CHECK(delays.of(peer(1), start + 1s) == 70ms);
  delays.published(peer(1), 200ms, start + 20s, start + 2s);
  CHECK(delays.of(peer(1), start + 2s) == 200ms);
}

TEST_CASE("answer times are averaged, the newest counts a quarter, and forgotten after a minute") {
  ExpectedDelays delays;
  const SteadyTime start{100s};
  delays.measured(peer(1), 100ms, start);
  delays.measured(peer(1), 20ms, start);
  CHECK(delays.of(peer(1), start) == 80ms);
  CHECK(delays.of(peer(1), start + 60s) == 0s);
  delays.measured(peer(1), 20ms, start + 60s);
  CHECK(delays.of(peer(1), start + 60s) == 20ms);
}

TEST_CASE("H-28 an answer is late after the average and four deviations, of all servers where this one is not known") {
  ExpectedDelays delays;
  const SteadyTime start{100s};
  CHECK(delays.patience(peer(1)) == unlimited);
  delays.measured(peer(1), 40ms, start);
  CHECK(delays.patience(peer(1)) == 120ms);  // nothing is known of its deviation yet
  CHECK(delays.patience(peer(2)) == 120ms);
  for (int i = 0; i < 100; ++i) delays.measured(peer(1), 40ms, start);
  CHECK(delays.patience(peer(1)) < 41ms);
  for (int i = 0; i < 200; ++i) delays.measured(peer(2), i % 2 == 0 ? 20ms : 60ms, start);
  CHECK(delays.patience(peer(2)) > 110ms);
  CHECK(delays.patience(peer(2)) < 130ms);
  CHECK(delays.patience(peer(1)) < 41ms);
  delays.published(peer(3), 1s, start + 10s, start);  // how long a request waits there, not how long an answer takes
  CHECK(delays.patience(peer(3)) > 110ms);
  CHECK(delays.patience(peer(3)) < 130ms);
}

TEST_CASE("the number of servers remembered is bounded") {
  ExpectedDelays delays(3);
  for (std::uint8_t i = 0; i < 100; ++i) delays.measured(peer(i), 1ms, SteadyTime{1s});
  CHECK(delays.of(peer(99), SteadyTime{1s}) == 1ms);
  CHECK(delays.of(peer(1), SteadyTime{1s}) == 0s);
}
