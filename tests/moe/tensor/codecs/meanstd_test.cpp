#include "skep/moe/tensor/codecs/meanstd.hpp"

#include <vector>

#include "moe/tensor/codecs/support.hpp"

#include <doctest/doctest.h>

using namespace skep::moe::codecs;  // NOLINT(*-using-namespace)
using skep::test::infinity;
using skep::test::numbers;

namespace {
std::vector<float> round_trip(const std::vector<float>& row) {
  std::vector<Half> halves(row.size());
  const RowScale scale = encode_row(row, halves.data());
  std::vector<float> back(row.size());
  decode_row<float>(halves, scale, back.data());
  return back;
}
}  // namespace

TEST_CASE("a row comes back within a thousandth of its deviation") {
  for (const auto distribution : skep::test::distributions) {
    CAPTURE(distribution);
    const auto row = numbers(distribution, 1000);
    const double deviation = moments_of(row).deviation();
    CHECK(skep::test::mean_squared_error(row, round_trip(row)) < deviation * deviation * 1e-6);
  }
  const std::vector<float> equal(7, 0.1F);
  CHECK(round_trip(equal) == equal);
}

TEST_CASE("E-6: a number that is not finite stays so and spoils no other") {
  const auto back = round_trip({1, skep::test::nan, 2, infinity, 3, -infinity});
  CHECK(std::isnan(back[1]));
  CHECK(back[3] == infinity);
  CHECK(back[5] == -infinity);
  CHECK(back[0] == doctest::Approx(1).epsilon(1e-3));
  CHECK(back[2] == 2);
  CHECK(back[4] == doctest::Approx(3).epsilon(1e-3));
  CHECK(round_trip({3e38F, -3e38F})[0] == doctest::Approx(3e38F).epsilon(1e-3));
}

TEST_CASE("all instructions give the same bytes") {
  for (const auto distribution : skep::test::distributions) {
    const auto row = numbers(distribution, 1003);
    std::vector<Half> portable(row.size());
    std::vector<Half> best(row.size());
    const RowScale a = encode_row(row, portable.data(), Simd::portable);
    const RowScale b = encode_row(row, best.data());
    CHECK(a.mean == b.mean);
    CHECK(a.deviation == b.deviation);
    CHECK(portable == best);
  }
}

TEST_CASE("float16 rounds after each step, float64 never") {
  const std::vector<Half> row{half_of(1.5F)};
  const RowScale scale{1000, 0.3F};
  std::vector<double> exact(1);
  decode_row<double>(row, scale, exact.data());
  CHECK(exact[0] == 1.5 * static_cast<double>(0.3F) + 1000);
  std::vector<Half> half(1);
  decode_row<Half>(row, scale, half.data());
  CHECK(half[0] == half_of(float_of(half_of(1.5F * 0.3F)) + 1000));
}
