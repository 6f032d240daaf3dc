// X25519 key agreement (RFC 7748), with which Noise finds its keys.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "skep/core/error.hpp"
#include "skep/core/result.hpp"
#include "skep/crypto/random.hpp"
#include "skep/crypto/secret.hpp"

namespace skep::inline v0::crypto {

using X25519PublicKey = std::array<std::uint8_t, 32>;

/// A private key with its public key, which is computed once.
class X25519KeyPair {
 public:
  explicit X25519KeyPair(const Secret<32>& private_key) noexcept : private_(private_key) {
    detail::start_sodium();
    // fails for no input: the base point has no small order
    static_cast<void>(crypto_scalarmult_curve25519_base(public_.data(), private_.view().data()));
  }
  [[nodiscard]] static X25519KeyPair generate() noexcept { return X25519KeyPair(random_secret<32>()); }

  [[nodiscard]] const X25519PublicKey& public_key() const noexcept { return public_; }

  /// The secret that both sides compute.
  /// @return errc::malformed for a public key of small order, which would make the secret known to everyone.
  [[nodiscard]] Result<Secret<32>> agree(std::span<const std::uint8_t, 32> peer_public_key) const noexcept {
    Secret<32> shared;
    if (crypto_scalarmult_curve25519(shared.writable().data(), private_.view().data(), peer_public_key.data()) != 0) {
      return errc::malformed;
    }
    return shared;
  }

 private:
  Secret<32> private_;
  X25519PublicKey public_;
};

}  // namespace skep::inline v0::crypto
