#include "skep/moe/tensor/codecs/ordered_keys.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "moe/tensor/codecs/support.hpp"

#include <doctest/doctest.h>

using namespace skep::moe::codecs;  // NOLINT(*-using-namespace)
using skep::test::numbers;

TEST_CASE("numbers are sorted, the zeros are one") {
  for (const auto distribution : skep::test::distributions) {
    auto sorted = numbers(distribution, 3000);
    sorted.insert(sorted.end(), {-0.F, 3e38F, -3e38F, 1e-45F, -1e-45F});
    auto expected = sorted;
    std::ranges::sort(expected);
    sort_numbers(sorted);
    CHECK(sorted == expected);
  }
  CHECK_FALSE(std::signbit(number_of(key_of(-0.F))));
}
