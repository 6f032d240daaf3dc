// MEANSTD_16BIT: rows less their mean, divided by their standard deviation, as float16.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <type_traits>

#include "skep/moe/tensor/codecs/half.hpp"
#include "skep/moe/tensor/codecs/moments.hpp"
#include "skep/moe/tensor/codecs/simd.hpp"

namespace skep::inline v0::moe::codecs {

/// By what a row's float16 numbers are multiplied and what is added to them.
struct RowScale {
  float mean = 0;
  float deviation = 1;
};

/// Hivemind takes no deviation below 1.2e-7, which makes a row of small gradients 0; here they keep their digits. A
/// number that is not finite stays what it is and does not count for the others, where Hivemind's row becomes NaN.
[[nodiscard]] inline RowScale encode_row(std::span<const float> row, Half* to, Simd simd = best_simd()) noexcept {
  const Moments moments = moments_of(row, simd);
  const RowScale scale{static_cast<float>(moments.mean),
                       std::max(static_cast<float>(moments.deviation()), std::numeric_limits<float>::min())};
  if (moments.is_regular) {
    compress(row, scale.mean, 1 / scale.deviation, to, simd);
    return scale;
  }
  for (const float value : row) {
    const double scaled = (static_cast<double>(value) - scale.mean) / scale.deviation;
    *to++ = clamped_half_of(static_cast<float>(scaled));
  }
  return scale;
}

/// As Hivemind computes it with the element type: float32 rounds after each step, float16 to its own precision.
/// @tparam T  float, double, or Half for the bits of float16
template <class T>
void decode_row(std::span<const Half> row, RowScale scale, T* to, Simd simd = best_simd()) noexcept {
  if constexpr (std::is_same_v<T, float>) {
    expand(row, scale.deviation, scale.mean, to, simd);
  } else if constexpr (std::is_same_v<T, double>) {
    for (const Half half : row) *to++ = static_cast<double>(float_of(half)) * scale.deviation + scale.mean;
  } else {
    static_assert(std::is_same_v<T, Half>);
    for (const Half half : row) {
      const Half product = half_of(float_of(half) * scale.deviation);
      *to++ = half_of(float_of(product) + scale.mean);
    }
  }
}

}  // namespace skep::inline v0::moe::codecs
