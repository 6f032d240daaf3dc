// Ed25519SignatureValidator: records protected by Ed25519 keys, ten times as fast to sign as with RSA; only skep knows
// them.
#pragma once

#include <string>
#include <string_view>

#include "skep/core/bytes.hpp"
#include "skep/crypto/base64.hpp"
#include "skep/crypto/ed25519.hpp"
#include "skep/dht/signature_validator.hpp"

namespace skep::inline v0::dht {

/// "[owner-ed25519:...]" in the subkey, "[signature-ed25519:...]" behind the value, both base64. The names differ from
/// RSA's: a Hivemind node answers a store with an error when "[owner:" is not followed by an RSA key.
struct Ed25519Scheme {
  using PrivateKey = crypto::Ed25519KeyPair;
  static constexpr std::string_view owner_name = "owner-ed25519";
  static constexpr std::string_view signature_name = "signature-ed25519";
  static constexpr int priority = 9;  ///< inside a signature by RSA, so that Hivemind can check that one

  [[nodiscard]] static PrivateKey default_key() {
    static const PrivateKey key = PrivateKey::generate();  // as long as the process
    return key;
  }
  [[nodiscard]] static std::string owner_text(const PrivateKey& key) { return crypto::base64(key.public_key()); }
  [[nodiscard]] static std::string sign(const PrivateKey& key, BytesView message) {
    return crypto::base64(key.sign(message));
  }
  [[nodiscard]] static bool verify(std::string_view owner, BytesView message, std::string_view signature) {
    const auto key = crypto::from_base64(owner);
    const auto bytes = crypto::from_base64(signature);
    return key && bytes && crypto::ed25519_verify(*key, message, *bytes);
  }
};

using Ed25519SignatureValidator = SignatureValidator<Ed25519Scheme>;
static_assert(RecordValidator<Ed25519SignatureValidator>);

}  // namespace skep::inline v0::dht
