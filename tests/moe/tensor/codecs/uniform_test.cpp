#include "skep/moe/tensor/codecs/uniform.hpp"

#include <vector>

#include "moe/tensor/codecs/support.hpp"

#include <doctest/doctest.h>

using namespace skep::moe::codecs;  // NOLINT(*-using-namespace)
using skep::test::infinity;
using skep::test::numbers;

namespace {
std::vector<float> round_trip(const std::vector<float>& values) {
  std::vector<std::uint8_t> codes(values.size());
  const Codebook codebook = encode_uniform(values, codes.data());
  std::vector<float> back(values.size());
  look_up<float>(codes, codebook, back.data());
  return back;
}
}  // namespace

TEST_CASE("E-9, H-12: the mean survives") {
  for (const float mean : {0.F, 5.04F, 159.2F, -1e6F}) {
    auto values = numbers("bell", 10'000);
    for (float& value : values) value += mean;
    CHECK(moments_of(round_trip(values)).mean == doctest::Approx(moments_of(values).mean).epsilon(1e-6));
  }
}

TEST_CASE("a step is a 256th of six deviations, and what is beyond is clamped") {
  const UniformBins bins = UniformBins::of({.mean = 10, .squares = 99, .count = 100});
  std::vector<std::uint8_t> codes(5);
  const float step = 6.F / 256;
  assign(std::vector<float>{10, 10 + step, 10 - 1.4F * step, 1e30F, -1e30F}, bins, codes.data());
  CHECK(codes == std::vector<std::uint8_t>{128, 129, 127, 255, 0});
}

TEST_CASE("E-6: equal numbers, one number and none are exact") {
  for (const auto& values : {std::vector<float>(100, 0.F), std::vector<float>(100, 0.1F), {3.F}, {}}) {
    CHECK(round_trip(values) == values);
  }
}

TEST_CASE("E-6: a number that is not finite stays so and spoils no other") {
  auto values = numbers("bell", 1000);
  const auto before = round_trip(values);
  values[3] = skep::test::nan;
  values[500] = infinity;
  values[999] = -infinity;
  const auto after = round_trip(values);
  CHECK(std::isnan(after[3]));
  CHECK(after[500] == infinity);
  CHECK(after[999] == -infinity);
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (std::isfinite(values[i])) REQUIRE(std::abs(after[i] - before[i]) < 0.05);
  }
}

TEST_CASE("all instructions give the same bytes") {
  for (const auto distribution : skep::test::distributions) {
    for (const std::size_t size : {31U, 4096U, 10'007U}) {
      auto values = numbers(distribution, size);
      if (size == 31) values[7] = infinity, values[20] = skep::test::nan;
      std::vector<std::uint8_t> portable(size);
      std::vector<std::uint8_t> best(size);
      const Codebook a = encode_uniform(values, portable.data(), Simd::portable);
      const Codebook b = encode_uniform(values, best.data());
      CHECK(portable == best);
      CHECK(skep::test::same_bytes(a, b));
    }
  }
}
