#include "skep/moe/tensor/codecs/quantile.hpp"

#include <set>
#include <vector>

#include "moe/tensor/codecs/support.hpp"

#include <doctest/doctest.h>

using namespace skep::moe::codecs;  // NOLINT(*-using-namespace)
using skep::test::infinity;
using skep::test::numbers;

namespace {
std::vector<float> round_trip(const std::vector<float>& values) {
  std::vector<std::uint8_t> codes(values.size());
  const Codebook codebook = encode_quantile(values, codes.data());
  std::vector<float> back(values.size());
  look_up<float>(codes, codebook, back.data());
  return back;
}
/// What comes back from bins of equally many numbers, Hivemind's.
std::vector<float> by_equal_mass(const std::vector<float>& values) {
  auto sorted = values;
  std::ranges::sort(sorted);
  std::vector<float> borders;
  for (std::size_t i = 1; i < 256; ++i) borders.push_back(sorted[(sorted.size() - 1) * i / 256]);
  std::vector<std::uint8_t> codes(values.size());
  Partition(borders).assign(values, 1, codes.data());
  BinAverages averages;
  averages.add(values, codes.data());
  std::vector<float> back(values.size());
  look_up<float>(codes, averages.averages(), back.data());
  return back;
}
}  // namespace

TEST_CASE("up to 256 different numbers are exact") {
  for (const auto distribution : skep::test::distributions) {
    const auto values = numbers(distribution, 256);
    CHECK(round_trip(values) == values);
  }
  CHECK(round_trip(numbers("few", 10'000)) == numbers("few", 10'000));
  CHECK(round_trip({}).empty());
}

TEST_CASE("the error is never above that of bins of equal mass, sampled or not") {
  for (const auto distribution : skep::test::distributions) {
    for (const std::size_t size : {300U, 20'000U, 300'000U}) {
      CAPTURE(distribution);
      CAPTURE(size);
      const auto values = numbers(distribution, size);
      const double error = skep::test::mean_squared_error(values, round_trip(values));
      CHECK(error <= skep::test::mean_squared_error(values, by_equal_mass(values)));
    }
  }
}

TEST_CASE("all instructions give the same bytes, at every time") {
  const auto values = numbers("tails", 200'001);
  std::vector<std::uint8_t> portable(values.size());
  std::vector<std::uint8_t> best(values.size());
  const Codebook a = encode_quantile(values, portable.data(), Levels::all, Simd::portable);
  const Codebook b = encode_quantile(values, best.data());
  CHECK(portable == best);
  CHECK(skep::test::same_bytes(a, b));
}

TEST_CASE("E-6: a number that is not finite stays so and spoils no other") {
  for (const std::size_t size : {100U, 1000U, 200'000U}) {
    auto values = numbers("bell", size);
    values[3] = skep::test::nan;
    values[50] = infinity;
    values[size - 1] = -infinity;
    const auto back = round_trip(values);
    CHECK(std::isnan(back[3]));
    CHECK(back[50] == infinity);
    CHECK(back[size - 1] == -infinity);
    for (std::size_t i = 0; i < size; ++i) {
      if (std::isfinite(values[i])) REQUIRE(std::abs(back[i] - values[i]) < 0.2);
    }
  }
  CHECK(std::isnan(round_trip({skep::test::nan})[0]));
}

TEST_CASE("a sample takes from every stretch, not in step with the columns of a tensor") {
  std::vector<float> values(std::size_t{1} << 20);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 16);
  const auto sample = skep::moe::codecs::detail::sorted_sample(values);
  CHECK(std::set<float>(sample.begin(), sample.end()).size() == 16);
}
