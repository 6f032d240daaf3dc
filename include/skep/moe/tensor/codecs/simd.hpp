// Vector instructions for the tensor codecs: chosen at run time, so that headers need no flags of the compiler's.
#pragma once

#include <cstdint>

#if defined(__x86_64__)
#include <immintrin.h>
/// Before a function that uses AVX2. FMA stays off: fused sums would not have the bytes of the portable code.
#define SKEP_AVX2 __attribute__((target("avx2,f16c")))
#endif

namespace skep::inline v0::moe::codecs {

/// Which code a codec runs. The bytes are the same with all.
enum class Simd : std::uint8_t { portable, avx2 };

/// The best that this processor has.
[[nodiscard]] inline Simd best_simd() noexcept {
#if defined(__x86_64__)
  static const Simd best =
      __builtin_cpu_supports("avx2") && __builtin_cpu_supports("f16c") ? Simd::avx2 : Simd::portable;
  return best;
#else
  return Simd::portable;
#endif
}

}  // namespace skep::inline v0::moe::codecs
