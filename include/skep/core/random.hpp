// A small seedable random engine: the same seed gives the same run, in tests, in simulation and when a failure is
// replayed.
#pragma once

#include <cstdint>
#include <limits>

#include "skep/core/bytes.hpp"

namespace skep::inline v0 {

/// xoshiro256** by Blackman and Vigna, seeded by splitmix64. Not for secrets: keys and call ids come from crypto/.
class Random {
 public:
  using result_type = std::uint64_t;

  explicit Random(std::uint64_t seed) noexcept {
    for (auto& word : state_) {
      seed += 0x9e3779b97f4a7c15U;
      std::uint64_t z = seed;
      z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
      z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
      word = z ^ (z >> 31);
    }
  }

  [[nodiscard]] static constexpr result_type min() noexcept { return 0; }
  [[nodiscard]] static constexpr result_type max() noexcept { return std::numeric_limits<result_type>::max(); }

  result_type operator()() noexcept {
    const std::uint64_t out = rotate(state_[1] * 5, 7) * 9;
    const std::uint64_t t = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= t;
    state_[3] = rotate(state_[3], 45);
    return out;
  }

  /// A whole number in [0, bound), the same on every platform (unlike std::uniform_int_distribution). `bound` > 0.
  [[nodiscard]] std::uint64_t below(std::uint64_t bound) noexcept {
    const std::uint64_t unfair = (max() - bound + 1) % bound;  // draws below this would favour small results
    for (;;) {
      const std::uint64_t draw = (*this)();
      if (draw >= unfair) return draw % bound;
    }
  }

  /// A number in [0, 1) with 53 random bits.
  [[nodiscard]] double unit() noexcept { return static_cast<double>((*this)() >> 11) * 0x1p-53; }

  void fill(MutableBytes bytes) noexcept {
    for (auto& byte : bytes) byte = static_cast<std::uint8_t>((*this)() >> 56);
  }

 private:
  [[nodiscard]] static constexpr std::uint64_t rotate(std::uint64_t x, int k) noexcept {
    return (x << k) | (x >> (64 - k));
  }

  std::uint64_t state_[4]{};
};

}  // namespace skep::inline v0
