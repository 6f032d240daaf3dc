#include "skep/core/random.hpp"

#include <doctest/doctest.h>

#include <set>

using skep::Random;

TEST_CASE("the same seed gives the same numbers") {
  Random a(7), b(7), c(8);
  CHECK(a() == b());
  CHECK(a() != c());
}

TEST_CASE("below stays below and reaches every value") {
  Random random(1);
  std::set<std::uint64_t> seen;
  for (int i = 0; i < 200; ++i) seen.insert(random.below(5));
  CHECK(seen == std::set<std::uint64_t>{0, 1, 2, 3, 4});
}

TEST_CASE("unit lies in [0, 1)") {
  Random random(1);
  for (int i = 0; i < 1000; ++i) {
    const double u = random.unit();
    CHECK((u >= 0 && u < 1));
  }
}
