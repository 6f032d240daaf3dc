// Ed25519 signatures (RFC 8032), the ordinary identity of a peer.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>

#include "skep/core/bytes.hpp"
#include "skep/crypto/random.hpp"
#include "skep/crypto/secret.hpp"

namespace skep::inline v0::crypto {

using Ed25519PublicKey = std::array<std::uint8_t, 32>;
using Ed25519Signature = std::array<std::uint8_t, 64>;

/// A signing key, made from a seed of 32 random bytes.
class Ed25519KeyPair {
 public:
  explicit Ed25519KeyPair(const Secret<32>& seed) noexcept : seed_(seed) {
    detail::start_sodium();
    crypto_sign_ed25519_seed_keypair(public_.data(), expanded_.writable().data(), seed_.view().data());
  }
  [[nodiscard]] static Ed25519KeyPair generate() noexcept { return Ed25519KeyPair(random_secret<32>()); }

  [[nodiscard]] const Ed25519PublicKey& public_key() const noexcept { return public_; }
  [[nodiscard]] const Secret<32>& seed() const noexcept { return seed_; }

  [[nodiscard]] Ed25519Signature sign(BytesView message) const noexcept {
    Ed25519Signature signature;
    crypto_sign_ed25519_detached(signature.data(), nullptr, message.data(), message.size(), expanded_.view().data());
    return signature;
  }

 private:
  Secret<32> seed_;
  Secret<64> expanded_;  ///< libsodium's form: the seed, then the public key
  Ed25519PublicKey public_;
};

/// Whether the signature of `message` by the owner of `public_key` is right; false too for keys and signatures that are
/// not 32 and 64 bytes, keys of small order and signatures that are not canonical.
[[nodiscard]] inline bool ed25519_verify(BytesView public_key, BytesView message, BytesView signature) noexcept {
  return public_key.size() == 32 && signature.size() == 64 &&
         crypto_sign_ed25519_verify_detached(signature.data(), message.data(), message.size(), public_key.data()) == 0;
}

}  // namespace skep::inline v0::crypto
