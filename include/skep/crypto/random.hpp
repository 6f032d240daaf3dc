// Randomness from the operating system, for keys, nonces and call ids. What may be replayed comes from core/random.hpp.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "skep/core/bytes.hpp"
#include "skep/crypto/secret.hpp"

namespace skep::inline v0::crypto {

/// Fills `bytes`. Any thread.
inline void random_bytes(MutableBytes bytes) noexcept {
  detail::start_sodium();
  if (!bytes.empty()) randombytes_buf(bytes.data(), bytes.size());
}

template <std::size_t N>
[[nodiscard]] std::array<std::uint8_t, N> random_array() noexcept {
  std::array<std::uint8_t, N> bytes;
  random_bytes(bytes);
  return bytes;
}

template <std::size_t N>
[[nodiscard]] Secret<N> random_secret() noexcept {
  Secret<N> secret;
  random_bytes(secret.writable());
  return secret;
}

}  // namespace skep::inline v0::crypto
