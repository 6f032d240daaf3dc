// Ordered keys: float32 numbers as integers of the same order, by which they are sorted and found.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <vector>

namespace skep::inline v0::moe::codecs {

/// Integers in the order of the numbers; both zeros have the same.
[[nodiscard]] inline std::uint32_t key_of(float value) noexcept {
  const auto bits = std::bit_cast<std::uint32_t>(value + 0.F);
  const auto if_negative = static_cast<std::uint32_t>(static_cast<std::int32_t>(bits) >> 31);
  return bits ^ (if_negative | 0x80000000U);
}
[[nodiscard]] inline float number_of(std::uint32_t key) noexcept {
  const auto if_positive = static_cast<std::uint32_t>(static_cast<std::int32_t>(key) >> 31);
  return std::bit_cast<float>(key ^ (~if_positive | 0x80000000U));
}

/// Ascending, in time that grows with the number of numbers alone; -0 becomes 0.
inline void sort_numbers(std::vector<float>& numbers) {
  std::vector<std::uint32_t> keys(numbers.size());
  std::ranges::transform(numbers, keys.begin(), key_of);
  std::vector<std::uint32_t> sorted(numbers.size());
  for (int shift = 0; shift < 32; shift += 8) {
    std::array<std::size_t, 257> begin{};  // of the keys with this byte
    for (const std::uint32_t key : keys) ++begin[(key >> shift & 0xff) + 1];
    std::partial_sum(begin.begin(), begin.end(), begin.begin());
    for (const std::uint32_t key : keys) sorted[begin[key >> shift & 0xff]++] = key;
    keys.swap(sorted);
  }
  std::ranges::transform(keys, numbers.begin(), number_of);
}

}  // namespace skep::inline v0::moe::codecs
