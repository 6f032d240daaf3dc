#include "skep/moe/tensor/codecs/moments.hpp"

#include <vector>

#include "moe/tensor/codecs/support.hpp"

#include <doctest/doctest.h>

using namespace skep::moe::codecs;  // NOLINT(*-using-namespace)
using skep::test::infinity;
using skep::test::numbers;

TEST_CASE("mean and deviation are those of the numbers") {
  const std::vector<float> values{1, 2, 3, 4};
  const auto moments = moments_of(values);
  CHECK(moments.mean == 2.5);
  CHECK(moments.squares == 5);
  CHECK(moments.deviation() == doctest::Approx(std::sqrt(1.25)));
  CHECK(moments_of({}).count == 0);
  CHECK(moments_of({}).deviation() == 0);
}

TEST_CASE("a mean far from 0 costs no digits, equal numbers have no deviation") {
  const auto near = moments_of(numbers("bell", 10'000));
  const auto far = moments_of(numbers("shifted", 10'000));
  CHECK(far.deviation() == doctest::Approx(near.deviation() / 1000).epsilon(1e-2));  // float32 has no more near 1000
  const std::vector<float> equal(1001, 0.1F);
  CHECK(moments_of(equal).mean == 0.1F);
  CHECK(moments_of(equal).squares == 0);
}

TEST_CASE("all instructions give the same sums") {
  for (const auto distribution : skep::test::distributions) {
    for (const std::size_t size : {1U, 15U, 16U, 17U, 1000U, 4099U}) {
      const auto values = numbers(distribution, size);
      const auto portable = moments_of(values, Simd::portable);
      const auto best = moments_of(values);
      CHECK(portable.mean == best.mean);
      CHECK(portable.squares == best.squares);
    }
  }
}

TEST_CASE("what is not finite is left out, and huge numbers do not overflow") {
  const auto odd = moments_of(std::vector<float>{skep::test::nan, 1, infinity, 3, -infinity});
  CHECK_FALSE(odd.is_regular);
  CHECK(odd.count == 2);
  CHECK(odd.mean == 2);
  CHECK(odd.deviation() == 1);
  const auto none = moments_of(std::vector<float>{skep::test::nan});
  CHECK(none.count == 0);
  CHECK(none.mean == 0);
  const auto huge = moments_of(std::vector<float>{3e38F, -3e38F});
  CHECK_FALSE(huge.is_regular);
  CHECK(huge.mean == 0);
  CHECK(huge.deviation() == doctest::Approx(3e38));
}
