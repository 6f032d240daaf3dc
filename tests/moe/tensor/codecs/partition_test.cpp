#include "skep/moe/tensor/codecs/partition.hpp"

#include <algorithm>
#include <vector>

#include "moe/tensor/codecs/support.hpp"

#include <doctest/doctest.h>

using namespace skep::moe::codecs;  // NOLINT(*-using-namespace)
using skep::test::numbers;

TEST_CASE("a number's part is how many borders are below it") {
  for (const auto distribution : skep::test::distributions) {
    for (const std::size_t count : {0U, 1U, 2U, 100U, 255U}) {
      auto borders = numbers(distribution, count);
      std::ranges::sort(borders);
      const Partition partition(borders);
      auto values = numbers(distribution, 3000);
      values.insert(values.end(), borders.begin(), borders.end());
      values.insert(values.end(), {0.F, -0.F, 1e30F, -1e30F, skep::test::infinity, -skep::test::infinity});
      std::vector<std::uint8_t> parts(values.size());
      partition.assign(values, 1, parts.data());
      std::vector<std::uint8_t> portable(values.size());
      partition.assign(values, 1, portable.data(), Simd::portable);
      CHECK(parts == portable);
      for (std::size_t i = 0; i < values.size(); ++i) {
        const auto below = std::ranges::lower_bound(borders, values[i]) - borders.begin();
        REQUIRE(parts[i] == below);
        REQUIRE(partition.part_of(values[i]) == below);
      }
    }
  }
}

TEST_CASE("numbers are multiplied before they are assigned") {
  const Partition partition(std::vector<float>{1, 2, 3});
  std::vector<std::uint8_t> parts(2);
  partition.assign(std::vector<float>{1, 2}, 2.5F, parts.data());
  CHECK(parts == std::vector<std::uint8_t>{2, 3});
}
