// SHA-1 (ids of the DHT), SHA-256 (peer ids, Noise), HMAC and the HKDF of Noise.
#pragma once

#include <openssl/evp.h>

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <new>
#include <span>
#include <utility>

#include "skep/core/bytes.hpp"
#include "skep/core/handle.hpp"
#include "skep/crypto/secret.hpp"

namespace skep::inline v0::crypto {

using Sha1Digest = std::array<std::uint8_t, 20>;
using Sha256Digest = std::array<std::uint8_t, 32>;

namespace detail {

using DigestContext = Handle<EVP_MD_CTX, EVP_MD_CTX_free>;

[[nodiscard]] inline DigestContext digest_context(const EVP_MD* algorithm) {
  DigestContext fresh(EVP_MD_CTX_new());
  if (!fresh || EVP_DigestInit_ex2(fresh.get(), algorithm, nullptr) != 1) throw std::bad_alloc();
  return fresh;
}

/// @param out  has room for what the context's algorithm gives
inline void digest(const DigestContext& context, std::span<const BytesView> parts, std::uint8_t* out) {
  bool good = EVP_DigestInit_ex2(context.get(), nullptr, nullptr) == 1;  // the same algorithm again
  for (const BytesView part : parts) good = good && EVP_DigestUpdate(context.get(), part.data(), part.size()) == 1;
  good = good && EVP_DigestFinal_ex(context.get(), out, nullptr) == 1;
  if (!good) throw std::bad_alloc();
}

/// One context per thread and algorithm is kept: making one costs more than hashing a key of the DHT.
template <const EVP_MD* (*Algorithm)(), std::size_t N>
[[nodiscard]] std::array<std::uint8_t, N> digest(std::span<const BytesView> parts) {
  thread_local const DigestContext context = digest_context(Algorithm());
  std::array<std::uint8_t, N> out;
  digest(context, parts, out.data());
  return out;
}

}  // namespace detail

/// The digest of the parts one after the other.
template <std::convertible_to<BytesView>... Parts>
[[nodiscard]] Sha1Digest sha1(const Parts&... parts) {
  const std::array<BytesView, sizeof...(Parts)> views{BytesView(parts)...};
  return detail::digest<EVP_sha1, 20>(views);
}

template <std::convertible_to<BytesView>... Parts>
[[nodiscard]] Sha256Digest sha256(const Parts&... parts) {
  const std::array<BytesView, sizeof...(Parts)> views{BytesView(parts)...};
  return detail::digest<EVP_sha256, 32>(views);
}

/// HMAC-SHA-256 (RFC 2104) of the parts one after the other, under a key of any length.
template <std::convertible_to<BytesView>... Parts>
[[nodiscard]] Secret<32> hmac_sha256(BytesView key, const Parts&... parts) noexcept {
  crypto_auth_hmacsha256_state state;
  const std::uint8_t* const start = key.empty() ? reinterpret_cast<const std::uint8_t*>(&state) : key.data();
  crypto_auth_hmacsha256_init(&state, start, key.size());  // must not be null, not even for an empty key
  const auto update = [&state](BytesView part) { crypto_auth_hmacsha256_update(&state, part.data(), part.size()); };
  (update(BytesView(parts)), ...);
  Secret<32> out;
  crypto_auth_hmacsha256_final(&state, out.writable().data());
  wipe({reinterpret_cast<std::uint8_t*>(&state), sizeof state});
  return out;
}

/// HKDF-SHA-256 with two outputs and no info, as the Noise Protocol Framework (section 4.3) derives keys.
[[nodiscard]] inline std::pair<Secret<32>, Secret<32>> hkdf_sha256(BytesView chaining_key, BytesView input) noexcept {
  const Secret<32> extracted = hmac_sha256(chaining_key, input);
  const Secret<32> first = hmac_sha256(extracted.view(), std::array<std::uint8_t, 1>{1});
  const Secret<32> second = hmac_sha256(extracted.view(), first.view(), std::array<std::uint8_t, 1>{2});
  return {first, second};
}

}  // namespace skep::inline v0::crypto
