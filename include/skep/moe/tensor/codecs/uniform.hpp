// UNIFORM_8BIT: 256 bins of equal width over six standard deviations around the mean, each decoded as its average.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>

#include "skep/moe/tensor/codecs/codebook.hpp"
#include "skep/moe/tensor/codecs/moments.hpp"
#include "skep/moe/tensor/codecs/simd.hpp"

namespace skep::inline v0::moe::codecs {

/// Where the bins lie: a value's code is round((value - mean) * per_step) + middle, clamped to what there is.
struct UniformBins {
  float mean = 0;
  float per_step = 0;
  float lowest = -128;  ///< the first bin, counted from the middle one
  float highest = 127;

  [[nodiscard]] static UniformBins of(const Moments& moments) noexcept {
    UniformBins bins{.mean = static_cast<float>(moments.mean)};
    if (!moments.is_regular) bins.lowest = -126, bins.highest = 126;
    const double variance = moments.count > 1 ? moments.squares / static_cast<double>(moments.count - 1) : 0;
    const double per_step = 256 / (6 * std::sqrt(variance));
    if (std::isfinite(static_cast<float>(per_step))) bins.per_step = static_cast<float>(per_step);
    return bins;
  }
};

namespace detail {
// Adding 1.5 * 2^23 leaves the rounded number in the last bits of the mantissa.
inline constexpr float rounder = 12582912;

inline void assign_portable(const float* from, std::size_t size, UniformBins bins, std::uint8_t* to) noexcept {
  for (std::size_t i = 0; i < size; ++i) {
    float step = (from[i] - bins.mean) * bins.per_step;
    step = step > bins.highest ? bins.highest : step;
    step = step < bins.lowest ? bins.lowest : step;
    const float code = step - bins.lowest;
    to[i] = static_cast<std::uint8_t>(std::bit_cast<std::uint32_t>(code + rounder));
  }
}
#if defined(__x86_64__)
SKEP_AVX2 inline __m256i codes_avx2(const float* from, __m256 mean, __m256 per_step, __m256 lowest,
                                    __m256 highest) noexcept {
  __m256 step = _mm256_mul_ps(_mm256_sub_ps(_mm256_loadu_ps(from), mean), per_step);
  step = _mm256_max_ps(_mm256_min_ps(step, highest), lowest);
  return _mm256_cvtps_epi32(_mm256_sub_ps(step, lowest));
}
SKEP_AVX2 inline void assign_avx2(const float* from, std::size_t size, UniformBins bins, std::uint8_t* to) noexcept {
  const __m256 mean = _mm256_set1_ps(bins.mean);
  const __m256 per_step = _mm256_set1_ps(bins.per_step);
  const __m256 lowest = _mm256_set1_ps(bins.lowest);
  const __m256 highest = _mm256_set1_ps(bins.highest);
  const __m256i in_order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);  // packing works on halves of the register
  std::size_t i = 0;
  for (; i + 32 <= size; i += 32) {
    const __m256i a = codes_avx2(from + i, mean, per_step, lowest, highest);
    const __m256i b = codes_avx2(from + i + 8, mean, per_step, lowest, highest);
    const __m256i c = codes_avx2(from + i + 16, mean, per_step, lowest, highest);
    const __m256i d = codes_avx2(from + i + 24, mean, per_step, lowest, highest);
    const __m256i all = _mm256_packus_epi16(_mm256_packus_epi32(a, b), _mm256_packus_epi32(c, d));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + i), _mm256_permutevar8x32_epi32(all, in_order));
  }
  assign_portable(from + i, size - i, bins, to + i);
}
#endif
}  // namespace detail

/// Gives every value its code.
inline void assign(std::span<const float> values, UniformBins bins, std::uint8_t* codes,
                   [[maybe_unused]] Simd simd = best_simd()) noexcept {
#if defined(__x86_64__)
  if (simd == Simd::avx2) return detail::assign_avx2(values.data(), values.size(), bins, codes);
#endif
  detail::assign_portable(values.data(), values.size(), bins, codes);
}

/// Writes one code for every value. @return what the codes stand for
[[nodiscard]] inline Codebook encode_uniform(std::span<const float> values, std::uint8_t* codes,
                                             Simd simd = best_simd()) {
  const Moments moments = moments_of(values, simd);
  const UniformBins bins = UniformBins::of(moments);
  BinAverages averages;
  for (std::size_t begin = 0; begin < values.size(); begin += block_size) {
    const auto block = values.subspan(begin, std::min(block_size, values.size() - begin));
    assign(block, bins, codes + begin, simd);
    if (!moments.is_regular) mark_non_finite(block, codes + begin);
    averages.add(block, codes + begin);
  }
  Codebook codebook = averages.averages();
  if (!moments.is_regular) add_non_finite(codebook);
  return codebook;
}

}  // namespace skep::inline v0::moe::codecs
