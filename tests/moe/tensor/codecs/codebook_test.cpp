#include "skep/moe/tensor/codecs/codebook.hpp"

#include <numeric>
#include <vector>

#include "moe/tensor/codecs/support.hpp"

#include <doctest/doctest.h>

using namespace skep::moe::codecs;  // NOLINT(*-using-namespace)
using skep::test::infinity;

TEST_CASE("bins decode as the average of what is in them, empty ones as 0") {
  const std::vector<float> values{1, 2, 3, 4, 10, 20, 30};
  const std::vector<std::uint8_t> codes{7, 7, 7, 7, 255, 0, 255};
  BinAverages averages;
  averages.add(values, codes.data());
  averages.add(std::vector<float>{5}, codes.data());
  const Codebook codebook = averages.averages();
  CHECK(codebook[7] == 3);
  CHECK(codebook[255] == 20);
  CHECK(codebook[0] == 20);
  CHECK(codebook[1] == 0);
}

TEST_CASE("many small numbers do not vanish beside their sum") {
  const std::vector<float> values(1 << 20, 0.1F);
  const std::vector<std::uint8_t> codes(values.size(), 3);
  BinAverages averages;
  for (int i = 0; i < 32; ++i) averages.add(values, codes.data());  // float32 sums stop growing at 2^21
  CHECK(averages.averages()[3] == 0.1F);
}

TEST_CASE("what is not finite has codes of its own") {
  std::vector<std::uint8_t> codes{1, 2, 3, 4, 5};
  const std::vector<float> values{1, -infinity, infinity, skep::test::nan, 2};
  mark_non_finite(values, codes.data());
  CHECK(codes == std::vector<std::uint8_t>{1, 253, 254, 255, 5});
  Codebook codebook{};
  add_non_finite(codebook);
  std::vector<float> back(5);
  look_up<float>(codes, codebook, back.data());
  CHECK(back[1] == -infinity);
  CHECK(back[2] == infinity);
  CHECK(std::isnan(back[3]));
}

TEST_CASE("every code is looked up, whatever the number of codes") {
  std::array<std::uint16_t, 256> table;
  std::iota(table.begin(), table.end(), std::uint16_t{1000});
  std::vector<std::uint8_t> codes(261);
  std::iota(codes.begin(), codes.end(), std::uint8_t{0});
  std::vector<std::uint16_t> to(codes.size());
  look_up(codes, table, to.data());
  for (std::size_t i = 0; i < codes.size(); ++i) REQUIRE(to[i] == 1000 + i % 256);
}
