// Mean and variance of float32 numbers in one pass: the same sum, bit for bit, whichever instructions compute it.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <span>

#include "skep/moe/tensor/codecs/simd.hpp"

namespace skep::inline v0::moe::codecs {

struct Moments {
  double mean = 0;
  double squares = 0;      ///< the sum of squared deviations from the mean
  std::size_t count = 0;   ///< of finite values
  bool is_regular = true;  ///< all values are finite, and their differences far from float32's largest

  /// The root of the mean squared deviation.
  [[nodiscard]] double deviation() const noexcept {
    return count == 0 ? 0 : std::sqrt(squares / static_cast<double>(count));
  }
};

namespace detail {
/// Sums over sixteen lanes of numbers; the lanes fix the order of the additions.
struct MomentSums {
  static constexpr std::size_t lanes = 16;

  std::array<double, lanes> sums{};
  std::array<double, lanes> squares{};

  // The difference is rounded to float32, so its square is exact in double and fusing it with the sum changes nothing.
  void add(std::size_t lane, float value, float pivot) noexcept {
    const double difference = value - pivot;
    sums[lane] += difference;
    squares[lane] += difference * difference;
  }
  /// Whole groups of sixteen.
  void add_portable(const float* from, std::size_t size, float pivot) noexcept {
    for (std::size_t i = 0; i < size; i += lanes) {
      for (std::size_t lane = 0; lane < lanes; ++lane) add(lane, from[i + lane], pivot);
    }
  }
#if defined(__x86_64__)
  SKEP_AVX2 void add_avx2(const float* from, std::size_t size, float pivot) noexcept {
    const __m256 pivots = _mm256_set1_ps(pivot);
    __m256d sum[4] = {};  // no std::array, which GCC warns of: its argument loses attributes
    __m256d square[4] = {};
    for (std::size_t i = 0; i < size; i += lanes) {
      for (std::size_t half = 0; half < 2; ++half) {
        const __m256 difference = _mm256_sub_ps(_mm256_loadu_ps(from + i + 8 * half), pivots);
        const __m256d low = _mm256_cvtps_pd(_mm256_castps256_ps128(difference));
        const __m256d high = _mm256_cvtps_pd(_mm256_extractf128_ps(difference, 1));
        sum[2 * half] = _mm256_add_pd(sum[2 * half], low);
        sum[2 * half + 1] = _mm256_add_pd(sum[2 * half + 1], high);
        square[2 * half] = _mm256_add_pd(square[2 * half], _mm256_mul_pd(low, low));
        square[2 * half + 1] = _mm256_add_pd(square[2 * half + 1], _mm256_mul_pd(high, high));
      }
    }
    for (std::size_t i = 0; i < 4; ++i) {
      _mm256_storeu_pd(sums.data() + 4 * i, sum[i]);
      _mm256_storeu_pd(squares.data() + 4 * i, square[i]);
    }
  }
#endif
};

/// For numbers that are not all finite, or so large that a difference overflows: two passes over the finite ones.
[[nodiscard]] inline Moments careful_moments(std::span<const float> values) noexcept {
  Moments moments{.is_regular = false};
  double sum = 0;
  for (const float value : values) {
    if (!std::isfinite(value)) continue;
    sum += value;
    ++moments.count;
  }
  if (moments.count == 0) return moments;
  moments.mean = sum / static_cast<double>(moments.count);
  for (const float value : values) {
    const double difference = value - moments.mean;
    if (std::isfinite(value)) moments.squares += difference * difference;
  }
  return moments;
}
}  // namespace detail

/// Of the finite values.
[[nodiscard]] inline Moments moments_of(std::span<const float> values,
                                        [[maybe_unused]] Simd simd = best_simd()) noexcept {
  if (values.empty()) return {};
  const float pivot = values.front();  // near enough to the others for no digit to be lost
  detail::MomentSums sums;
  const std::size_t whole = values.size() / detail::MomentSums::lanes * detail::MomentSums::lanes;
#if defined(__x86_64__)
  if (simd == Simd::avx2) {
    sums.add_avx2(values.data(), whole, pivot);
  } else {
    sums.add_portable(values.data(), whole, pivot);
  }
#else
  sums.add_portable(values.data(), whole, pivot);
#endif
  for (std::size_t i = whole; i < values.size(); ++i) sums.add(i - whole, values[i], pivot);

  double sum = 0;
  double squares = 0;
  for (std::size_t lane = 0; lane < detail::MomentSums::lanes; ++lane) {
    sum += sums.sums[lane];
    squares += sums.squares[lane];
  }
  const auto count = static_cast<double>(values.size());
  const double shift = sum / count;
  constexpr double large = 1e30;
  if (!(squares / count < large * large)) return detail::careful_moments(values);
  const double lost = shift * sum;
  return {.mean = pivot + shift, .squares = squares > lost ? squares - lost : 0, .count = values.size()};
}

}  // namespace skep::inline v0::moe::codecs
