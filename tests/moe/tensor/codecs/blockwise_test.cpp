#include "skep/moe/tensor/codecs/blockwise.hpp"

#include <vector>

#include "moe/tensor/codecs/support.hpp"

#include <doctest/doctest.h>

using namespace skep::moe::codecs;  // NOLINT(*-using-namespace)
using skep::test::infinity;
using skep::test::numbers;

namespace {
std::vector<float> round_trip(const std::vector<float>& values) {
  std::vector<float> largest(blocks_of(values.size()));
  std::vector<std::uint8_t> codes(values.size());
  const Codebook codebook = encode_blockwise(values, largest.data(), codes.data());
  std::vector<float> back(values.size());
  decode_blockwise(codes, largest.data(), codebook, back.data());
  return back;
}
}  // namespace

TEST_CASE("the codebook is ascending and reaches from -1 to 1") {
  const Codebook codebook = dynamic_codebook();
  CHECK(std::ranges::is_sorted(codebook));
  CHECK(codebook[0] == -1);
  CHECK(codebook[127] == 0);
  CHECK(codebook[128] == doctest::Approx(5.5e-7F));
  CHECK(codebook[254] == doctest::Approx(0.99296874F));
  CHECK(codebook[255] == 1);
  const Codebook others = dynamic_codebook(Levels::besides_non_finite);
  CHECK(std::ranges::is_sorted(std::span(others).first(253)));
  CHECK(others[126] == 0);
  CHECK(others[252] == 1);
  CHECK(others[253] == -infinity);
}

TEST_CASE("each number is within a hundredth of the largest of its block") {
  for (const auto distribution : skep::test::distributions) {
    const auto values = numbers(distribution, 10'000);
    const auto back = round_trip(values);
    for (std::size_t begin = 0; begin < values.size(); begin += blockwise_size) {
      const auto block = std::span(values).subspan(begin, std::min(blockwise_size, values.size() - begin));
      float largest = 0;
      float error = 0;
      for (std::size_t i = 0; i < block.size(); ++i) {
        largest = std::max(largest, std::abs(block[i]));
        error = std::max(error, std::abs(block[i] - back[begin + i]));
      }
      CHECK(error <= largest / 100);
    }
  }
}

TEST_CASE("E-6: zeros and the smallest numbers are finite, each block has its own scale") {
  CHECK(round_trip(std::vector<float>(5000, 0.F)) == std::vector<float>(5000, 0.F));
  CHECK(round_trip({}).empty());
  const auto small = round_trip({1e-40F, -1e-40F, 0});
  CHECK(small[0] == doctest::Approx(1e-40F));
  CHECK(small[1] == doctest::Approx(-1e-40F));
  CHECK(small[2] == 0);
  std::vector<float> values(8192, 1.F);
  for (std::size_t i = 4096; i < 8192; ++i) values[i] = 1e-6F;
  CHECK(round_trip(values) == values);
}

TEST_CASE("E-6: a number that is not finite stays so and spoils no other") {
  std::vector<float> values(9000, 0.F);
  values[0] = 1;
  values[1] = skep::test::nan;
  values[5000] = infinity;
  values[5001] = -infinity;
  values[8999] = 0.5F;
  const auto back = round_trip(values);
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (i == 1) {
      CHECK(std::isnan(back[i]));
    } else {
      REQUIRE(back[i] == values[i]);
    }
  }
}

TEST_CASE("all instructions give the same bytes") {
  for (const auto distribution : skep::test::distributions) {
    const auto values = numbers(distribution, 9001);
    std::vector<float> largest_a(3);
    std::vector<float> largest_b(3);
    std::vector<std::uint8_t> portable(values.size());
    std::vector<std::uint8_t> best(values.size());
    (void)encode_blockwise(values, largest_a.data(), portable.data(), Levels::all, Simd::portable);
    (void)encode_blockwise(values, largest_b.data(), best.data());
    CHECK(portable == best);
    CHECK(largest_a == largest_b);
  }
}
