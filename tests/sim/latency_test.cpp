#include "skep/sim/latency.hpp"

#include <vector>

#include <doctest/doctest.h>

using namespace skep;

namespace {
struct Moments {
  double mean;
  double deviation;
};
Moments moments_of(const sim::Latency& draw) {
  Random random(1);
  double sum = 0;
  double squares = 0;
  constexpr int n = 20'000;
  for (int i = 0; i < n; ++i) {
    const double ms = std::chrono::duration<double, std::milli>(draw(random, {})).count();
    CHECK_GE(ms, 0.0);
    sum += ms;
    squares += ms * ms;
  }
  return {sum / n, std::sqrt(squares / n - sum / n * (sum / n))};
}
}  // namespace

TEST_CASE("latencies have the mean and deviation that were asked for, and are never negative") {
  Random random(1);
  CHECK(sim::constant(20ms)(random, {}) == 20ms);
  const auto normal = moments_of(sim::normal(92ms, 32ms));
  CHECK(normal.mean == doctest::Approx(92).epsilon(0.02));
  CHECK(normal.deviation == doctest::Approx(32).epsilon(0.04));
  const auto exponential = moments_of(sim::exponential(50ms));
  CHECK(exponential.mean == doctest::Approx(50).epsilon(0.03));
  CHECK(exponential.deviation == doctest::Approx(50).epsilon(0.05));
}

TEST_CASE("a matrix gives each pair of regions its own way") {
  Random random(1);
  const auto way = sim::matrix({{2ms, 80ms}, {90ms, 4ms}});
  CHECK(way(random, {.from = 2, .to = 4}) == 2ms);
  CHECK(way(random, {.from = 2, .to = 3}) == 80ms);
  CHECK(way(random, {.from = 3, .to = 2}) == 90ms);
  CHECK(way(random, {.from = 1, .to = 7}) == 4ms);
  const auto unsteady = sim::matrix({{100ms}}, 0.5);
  for (int i = 0; i < 100; ++i) {
    const Duration time = unsteady(random, {});
    CHECK(time >= 100ms);
    CHECK(time < 150ms);
  }
  CHECK_THROWS_AS((void)sim::matrix({}), Error);
  CHECK_THROWS_AS((void)sim::matrix({{1ms, 2ms}}), Error);
}
