// BLOCKWISE_8BIT: codes for a value's share of the largest of its block of 4096, as bitsandbytes writes them.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "skep/moe/tensor/codecs/codebook.hpp"
#include "skep/moe/tensor/codecs/partition.hpp"
#include "skep/moe/tensor/codecs/simd.hpp"

namespace skep::inline v0::moe::codecs {

/// How many values share a largest one.
inline constexpr std::size_t blockwise_size = 4096;

[[nodiscard]] constexpr std::size_t blocks_of(std::size_t values) noexcept {
  return values / blockwise_size + (values % blockwise_size == 0 ? 0 : 1);
}

/// The "dynamic" codebook: seven decades of shares down to 1e-7, the upper ones divided more finely, then 0, -1 and 1;
/// ascending. Codes for what is not finite take the place of the three that are next to 0.
[[nodiscard]] inline Codebook dynamic_codebook(Levels levels = Levels::all) {
  Codebook codebook{};  // its last number but one stays 0
  auto next = codebook.begin();
  for (int decade = 0; decade < 7; ++decade) {
    const int steps = 1 << decade;
    const double unit = std::pow(10.0, decade - 6);
    for (int i = 0; i < steps; ++i) {
      const auto share = static_cast<float>(unit * (0.1 + 0.9 * (i + 0.5) / steps));
      *next++ = share;
      *next++ = -share;
    }
  }
  codebook.back() = 1;
  std::ranges::sort(codebook);
  codebook.front() = -1;  // in place of a share of -0.993, as bitsandbytes has it
  if (levels == Levels::all) return codebook;
  codebook[126] = 0;
  std::copy(codebook.begin() + 130, codebook.end(), codebook.begin() + 127);
  add_non_finite(codebook);
  return codebook;
}

namespace detail {
/// A codebook and the partition in the middle between its shares; made once.
struct Shares {
  Codebook codebook;
  Partition partition;

  explicit Shares(Levels levels) : codebook(dynamic_codebook(levels)), partition(borders(codebook, levels)) {}
  [[nodiscard]] static const Shares& of(Levels levels) {
    static const Shares all(Levels::all);
    static const Shares others(Levels::besides_non_finite);
    return levels == Levels::all ? all : others;
  }

 private:
  [[nodiscard]] static std::vector<float> borders(const Codebook& codebook, Levels levels) {
    std::vector<float> borders;
    for (std::size_t i = 1; i < count_of(levels); ++i) borders.push_back((codebook[i - 1] + codebook[i]) / 2);
    return borders;
  }
};

// Magnitudes without sign are ordered as their bits are; those from here on are not finite.
inline constexpr std::uint32_t first_not_finite = 0x7f800000;

[[nodiscard]] inline std::uint32_t largest_portable(const float* from, std::size_t size) noexcept {
  std::uint32_t largest = 0;
  for (std::size_t i = 0; i < size; ++i) {
    largest = std::max(largest, std::bit_cast<std::uint32_t>(from[i]) & 0x7fffffffU);
  }
  return largest;
}
#if defined(__x86_64__)
[[nodiscard]] SKEP_AVX2 inline std::uint32_t largest_avx2(const float* from, std::size_t size) noexcept {
  const __m256i without_sign = _mm256_set1_epi32(0x7fffffff);
  __m256i largest = _mm256_setzero_si256();
  std::size_t i = 0;
  for (; i + 8 <= size; i += 8) {
    const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + i));
    largest = _mm256_max_epi32(largest, _mm256_and_si256(bits, without_sign));
  }
  std::array<std::uint32_t, 8> lanes;
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(lanes.data()), largest);
  return std::max(std::ranges::max(lanes), largest_portable(from + i, size - i));
}
#endif
/// The bits of the largest magnitude.
[[nodiscard]] inline std::uint32_t largest_magnitude(std::span<const float> values,
                                                     [[maybe_unused]] Simd simd) noexcept {
#if defined(__x86_64__)
  if (simd == Simd::avx2) return largest_avx2(values.data(), values.size());
#endif
  return largest_portable(values.data(), values.size());
}
/// Of the finite values; 1 if all are 0, since a code of infinity is multiplied with it.
[[nodiscard]] inline float largest_finite(std::span<const float> values) noexcept {
  float largest = 0;
  for (const float value : values) {
    if (std::isfinite(value)) largest = std::max(largest, std::abs(value));
  }
  return largest == 0 ? 1 : largest;
}

inline void assign_shares(std::span<const float> values, const Partition& partition, float largest, std::uint8_t* codes,
                          Simd simd) noexcept {
  const float factor = largest == 0 ? 0 : 1 / largest;
  if (std::isfinite(factor)) return partition.assign(values, factor, codes, simd);
  for (std::size_t i = 0; i < values.size(); ++i) codes[i] = partition.part_of(values[i] / largest);
}
}  // namespace detail

/// Writes one code for every value and the largest magnitude of each block. @return what the codes stand for
[[nodiscard]] inline Codebook encode_blockwise(std::span<const float> values, float* largest, std::uint8_t* codes,
                                               Levels levels = Levels::all, Simd simd = best_simd()) {
  const auto& [codebook, partition] = detail::Shares::of(levels);
  for (std::size_t begin = 0; begin < values.size(); begin += blockwise_size) {
    const auto block = values.subspan(begin, std::min(blockwise_size, values.size() - begin));
    const std::uint32_t magnitude = detail::largest_magnitude(block, simd);
    const bool is_finite = magnitude < detail::first_not_finite;
    if (!is_finite && levels == Levels::all) {
      return encode_blockwise(values, largest, codes, Levels::besides_non_finite, simd);
    }
    float& of_block = largest[begin / blockwise_size];
    of_block = is_finite ? std::bit_cast<float>(magnitude) : detail::largest_finite(block);
    detail::assign_shares(block, partition, of_block, codes + begin, simd);
    if (!is_finite) mark_non_finite(block, codes + begin);
  }
  return codebook;
}

/// to[i] = codebook[codes[i]] * largest[i / 4096]
inline void decode_blockwise(std::span<const std::uint8_t> codes, const float* largest, const Codebook& codebook,
                             float* to) noexcept {
  for (std::size_t begin = 0; begin < codes.size(); begin += blockwise_size) {
    Codebook of_block = codebook;
    for (float& value : of_block) value *= largest[begin / blockwise_size];
    look_up(codes.subspan(begin, std::min(blockwise_size, codes.size() - begin)), of_block, to + begin);
  }
}

}  // namespace skep::inline v0::moe::codecs
