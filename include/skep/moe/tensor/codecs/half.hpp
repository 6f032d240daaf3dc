// Half precision: float32 to float16 and back, shifted and scaled on the way, with a portable and an AVX2 version.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>

#include "skep/moe/tensor/codecs/simd.hpp"

namespace skep::inline v0::moe::codecs {

/// The bits of an IEEE half-precision number.
using Half = std::uint16_t;
inline constexpr float largest_half = 65504;

/// Rounds to the nearest, ties to even; what is beyond the range becomes infinite, a NaN the canonical one.
[[nodiscard]] inline Half half_of(float value) noexcept {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = bits >> 16 & 0x8000U;
  const std::uint32_t magnitude = bits & 0x7fffffffU;
  if (magnitude > 0x7f800000U) return static_cast<Half>(sign | 0x7e00U);
  if (magnitude >= 0x477ff000U) return static_cast<Half>(sign | 0x7c00U);  // from 65520 on
  if (magnitude < 0x38800000U) {  // below 2^-14: the sum with 0.5 rounds to multiples of 2^-24
    const auto sum = std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) + 0.5F);
    return static_cast<Half>(sign | (sum - std::bit_cast<std::uint32_t>(0.5F)));
  }
  const std::uint32_t is_odd = magnitude >> 13 & 1U;
  return static_cast<Half>(sign | (magnitude - 0x38000000U + 0xfffU + is_odd) >> 13);
}
/// Exact.
[[nodiscard]] inline float float_of(Half half) noexcept {
  const std::uint32_t sign = (half & 0x8000U) << 16;
  const std::uint32_t magnitude = half & 0x7fffU;
  if (magnitude > 0x7c00U) return std::bit_cast<float>(sign | 0x7fc00000U | magnitude << 13);
  if (magnitude == 0x7c00U) return std::bit_cast<float>(sign | 0x7f800000U);
  if (magnitude < 0x400U) {
    const float value = static_cast<float>(magnitude) * 0x1p-24F;
    return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(value));
  }
  return std::bit_cast<float>(sign | ((magnitude << 13) + 0x38000000U));
}

/// What is finite stays finite; infinities and NaN stay what they are.
[[nodiscard]] inline Half clamped_half_of(float value) noexcept {
  return half_of(std::isfinite(value) ? std::clamp(value, -largest_half, largest_half) : value);
}

namespace detail {
inline void compress_portable(const float* from, std::size_t size, float shift, float factor, Half* to) noexcept {
  for (std::size_t i = 0; i < size; ++i) to[i] = clamped_half_of((from[i] - shift) * factor);
}
inline void expand_portable(const Half* from, std::size_t size, float* to) noexcept {
  for (std::size_t i = 0; i < size; ++i) to[i] = float_of(from[i]);
}
inline void expand_portable(const Half* from, std::size_t size, float factor, float shift, float* to) noexcept {
  for (std::size_t i = 0; i < size; ++i) {
    // Rounded twice as Hivemind does it: through double, whose product is exact, no compiler can fuse the two.
    const auto product = static_cast<float>(static_cast<double>(float_of(from[i])) * factor);
    to[i] = product + shift;
  }
}

#if defined(__x86_64__)
SKEP_AVX2 inline void compress_avx2(const float* from, std::size_t size, float shift, float factor, Half* to) noexcept {
  const __m256 shifts = _mm256_set1_ps(shift);
  const __m256 factors = _mm256_set1_ps(factor);
  const __m256 largest = _mm256_set1_ps(largest_half);
  const __m256 smallest = _mm256_set1_ps(-largest_half);
  const __m256 infinity = _mm256_set1_ps(std::numeric_limits<float>::infinity());
  const __m256 sign = _mm256_set1_ps(-0.F);
  const __m256 quiet_nan = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fc00000));
  std::size_t i = 0;
  for (; i + 8 <= size; i += 8) {
    const __m256 value = _mm256_mul_ps(_mm256_sub_ps(_mm256_loadu_ps(from + i), shifts), factors);
    __m256 result = _mm256_max_ps(_mm256_min_ps(value, largest), smallest);
    const __m256 is_other = _mm256_cmp_ps(_mm256_andnot_ps(sign, value), infinity, _CMP_NLT_UQ);
    if (_mm256_movemask_ps(is_other) != 0) {
      const __m256 nan = _mm256_or_ps(_mm256_and_ps(value, sign), quiet_nan);
      const __m256 other = _mm256_blendv_ps(value, nan, _mm256_cmp_ps(value, value, _CMP_UNORD_Q));
      result = _mm256_blendv_ps(result, other, is_other);
    }
    const __m128i half = _mm256_cvtps_ph(result, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + i), half);
  }
  compress_portable(from + i, size - i, shift, factor, to + i);
}
SKEP_AVX2 inline void expand_avx2(const Half* from, std::size_t size, float* to) noexcept {
  std::size_t i = 0;
  for (; i + 8 <= size; i += 8) {
    _mm256_storeu_ps(to + i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i))));
  }
  expand_portable(from + i, size - i, to + i);
}
SKEP_AVX2 inline void expand_avx2(const Half* from, std::size_t size, float factor, float shift, float* to) noexcept {
  const __m256 factors = _mm256_set1_ps(factor);
  const __m256 shifts = _mm256_set1_ps(shift);
  std::size_t i = 0;
  for (; i + 8 <= size; i += 8) {
    const __m256 value = _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i)));
    _mm256_storeu_ps(to + i, _mm256_add_ps(_mm256_mul_ps(value, factors), shifts));
  }
  expand_portable(from + i, size - i, factor, shift, to + i);
}
#endif
}  // namespace detail

/// to[i] = (from[i] - shift) * factor, clamped to the finite range of float16 unless it is infinite or NaN.
inline void compress(std::span<const float> from, float shift, float factor, Half* to,
                     [[maybe_unused]] Simd simd = best_simd()) noexcept {
#if defined(__x86_64__)
  if (simd == Simd::avx2) return detail::compress_avx2(from.data(), from.size(), shift, factor, to);
#endif
  detail::compress_portable(from.data(), from.size(), shift, factor, to);
}
/// to[i] = from[i]
inline void expand(std::span<const Half> from, float* to, [[maybe_unused]] Simd simd = best_simd()) noexcept {
#if defined(__x86_64__)
  if (simd == Simd::avx2) return detail::expand_avx2(from.data(), from.size(), to);
#endif
  detail::expand_portable(from.data(), from.size(), to);
}
/// to[i] = from[i] * factor + shift, rounded after each step.
inline void expand(std::span<const Half> from, float factor, float shift, float* to,
                   [[maybe_unused]] Simd simd = best_simd()) noexcept {
#if defined(__x86_64__)
  if (simd == Simd::avx2) return detail::expand_avx2(from.data(), from.size(), factor, shift, to);
#endif
  detail::expand_portable(from.data(), from.size(), factor, shift, to);
}

}  // namespace skep::inline v0::moe::codecs
