#include "skep/sim/latency.hpp"

#include <doctest/doctest.h>

using namespace skep;

TEST_CASE("latencies have the mean and deviation that were asked for, and are never negative") {
  Random random(1);
  CHECK(sim::constant(20ms)(random) == 20ms);
  const auto draw = sim::normal(92ms, 32ms);
  double sum = 0;
  double squares = 0;
  constexpr int n = 20'000;
  for (int i = 0; i < n; ++i) {
    const double ms = std::chrono::duration<double, std::milli>(draw(random)).count();
    CHECK_GE(ms, 9.0);
    sum += ms;
    squares += ms * ms;
  }
  const double mean = sum / n;
  CHECK(mean == doctest::Approx(92).epsilon(0.02));
  CHECK(std::sqrt(squares / n - mean * mean) == doctest::Approx(32).epsilon(0.04));
}
