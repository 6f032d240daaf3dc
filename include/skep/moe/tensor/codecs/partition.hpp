// Partition: the line of numbers cut at up to 255 borders, and a table that finds the part of a number in few steps.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "skep/moe/tensor/codecs/ordered_keys.hpp"
#include "skep/moe/tensor/codecs/simd.hpp"

namespace skep::inline v0::moe::codecs {

/// Each border belongs to the part below it. A number's upper half leads to the parts that it may be in; one comparison
/// a halving then decides, as many as the most crowded half has borders for.
class Partition {
 public:
  /// @param borders  ascending, finite, at most 255
  explicit Partition(std::span<const float> borders) : first_part_(halves) {
    keys_.fill(~std::uint32_t{0});  // no number is beyond
    std::size_t done = 0;           // halves that have their part
    std::size_t crowd = 0;
    std::size_t largest_crowd = 0;
    for (std::size_t i = 0; i < borders.size(); ++i) {
      keys_[i] = key_of(borders[i]);
      const std::size_t half = keys_[i] >> 16;
      crowd = half < done ? crowd + 1 : 1;
      largest_crowd = std::max(largest_crowd, crowd);
      for (; done <= half; ++done) first_part_[done] = static_cast<std::uint8_t>(i);
    }
    for (; done < halves; ++done) first_part_[done] = static_cast<std::uint8_t>(borders.size());
    first_step_ = std::bit_floor(largest_crowd);
  }

  /// How many borders are below the number. What is not finite has a part, too, but which means nothing.
  [[nodiscard]] std::uint8_t part_of(float value) const noexcept { return find(key_of(value), first_step_); }

  /// parts[i] = part_of(values[i] * factor)
  void assign(std::span<const float> values, float factor, std::uint8_t* parts,
              Simd simd = best_simd()) const noexcept {
    std::array<std::uint32_t, 512> keys;
    for (std::size_t begin = 0; begin < values.size(); begin += keys.size()) {
      const auto some = values.subspan(begin, std::min(keys.size(), values.size() - begin));
      keys_of(some, factor, keys.data(), simd);
      if (first_step_ == 1) {  // as it nearly always is
        for (std::size_t i = 0; i < some.size(); ++i) parts[begin + i] = find(keys[i], 1);
      } else {
        for (std::size_t i = 0; i < some.size(); ++i) parts[begin + i] = find(keys[i], first_step_);
      }
    }
  }

 private:
  static constexpr std::size_t halves = std::size_t{1} << 16;

  static void keys_of(std::span<const float> values, float factor, std::uint32_t* keys,
                      [[maybe_unused]] Simd simd) noexcept {
#if defined(__x86_64__)
    if (simd == Simd::avx2) return keys_avx2(values.data(), values.size(), factor, keys);
#endif
    for (std::size_t i = 0; i < values.size(); ++i) keys[i] = key_of(values[i] * factor);
  }
#if defined(__x86_64__)
  SKEP_AVX2 static void keys_avx2(const float* from, std::size_t size, float factor, std::uint32_t* keys) noexcept {
    const __m256 factors = _mm256_set1_ps(factor);
    const __m256i highest_bit = _mm256_set1_epi32(std::numeric_limits<std::int32_t>::min());
    std::size_t i = 0;
    for (; i + 8 <= size; i += 8) {
      const __m256 value = _mm256_mul_ps(_mm256_loadu_ps(from + i), factors);
      const __m256i bits = _mm256_castps_si256(_mm256_add_ps(value, _mm256_setzero_ps()));
      const __m256i flipped = _mm256_or_si256(_mm256_srai_epi32(bits, 31), highest_bit);
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(keys + i), _mm256_xor_si256(bits, flipped));
    }
    for (; i < size; ++i) keys[i] = key_of(from[i] * factor);
  }
#endif
  [[nodiscard]] std::uint8_t find(std::uint32_t key, std::size_t first_step) const noexcept {
    std::size_t part = first_part_[key >> 16];
    for (std::size_t step = first_step; step > 0; step /= 2) part += keys_[part + step - 1] < key ? step : 0;
    return static_cast<std::uint8_t>(part);
  }

  std::vector<std::uint8_t> first_part_;   // by the upper half of a key
  std::array<std::uint32_t, 512> keys_{};  // of the borders, then of what is beyond them all
  std::size_t first_step_ = 0;
};

}  // namespace skep::inline v0::moe::codecs
