// Bytes that must not leak: wiped when they go, compared in constant time.
#pragma once

#include <sodium.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <span>

#include "skep/core/bytes.hpp"

namespace skep::inline v0::crypto {

/// Overwrites bytes in a way that the compiler keeps.
inline void wipe(MutableBytes bytes) noexcept { sodium_memzero(bytes.data(), bytes.size()); }

/// Whether two values are equal, in a time that depends only on their length. Different lengths are unequal.
[[nodiscard]] inline bool constant_time_equal(BytesView a, BytesView b) noexcept {
  return a.size() == b.size() && sodium_memcmp(a.data(), b.data(), a.size()) == 0;
}

/// A key of N bytes. Each copy wipes itself; there is no way to print it.
template <std::size_t N>
class Secret {
 public:
  static constexpr std::size_t size = N;

  Secret() noexcept = default;
  explicit Secret(std::span<const std::uint8_t, N> bytes) noexcept {
    std::copy(bytes.begin(), bytes.end(), bytes_.begin());
  }
  Secret(const Secret&) noexcept = default;
  Secret& operator=(const Secret&) noexcept = default;
  ~Secret() { wipe(bytes_); }

  [[nodiscard]] std::span<const std::uint8_t, N> view() const noexcept { return bytes_; }
  [[nodiscard]] std::span<std::uint8_t, N> writable() noexcept { return bytes_; }

 private:
  std::array<std::uint8_t, N> bytes_{};
};

namespace detail {

/// Lets libsodium choose its implementations for this processor, once. It fails only on a machine without a source of
/// randomness, where no key could be trusted.
inline void start_sodium() noexcept {
  static const bool ready = sodium_init() >= 0;
  if (!ready) std::terminate();
}

}  // namespace detail

}  // namespace skep::inline v0::crypto
