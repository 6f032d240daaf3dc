// RsaSignatureValidator: records protected by RSA keys, byte for byte as Hivemind's RSASignatureValidator does.
#pragma once

#include <string>
#include <string_view>

#include "skep/core/bytes.hpp"
#include "skep/crypto/base64.hpp"
#include "skep/crypto/rsa.hpp"
#include "skep/crypto/rsa_public_key.hpp"
#include "skep/dht/signature_validator.hpp"

namespace skep::inline v0::dht {

/// "[owner:ssh-rsa AAAA...]" in the subkey, "[signature:...]" behind the value: PSS over SHA-256 with the longest salt.
struct RsaScheme {
  using PrivateKey = crypto::RsaPrivateKey;
  static constexpr std::string_view owner_name = "owner";
  static constexpr std::string_view signature_name = "signature";
  static constexpr int priority = 10;  ///< before those that read values

  [[nodiscard]] static PrivateKey default_key() { return PrivateKey::process_wide(); }
  [[nodiscard]] static std::string owner_text(const PrivateKey& key) { return crypto::RsaPublicKey(key).to_openssh(); }
  [[nodiscard]] static std::string sign(const PrivateKey& key, BytesView message) {
    return crypto::base64(key.sign_pss(message));
  }
  [[nodiscard]] static bool verify(std::string_view owner, BytesView message, std::string_view signature) {
    const auto key = crypto::RsaPublicKey::from_openssh(owner);
    const auto bytes = crypto::from_base64(signature);
    return key && bytes && key->verify_pss(message, *bytes);
  }
};

using RsaSignatureValidator = SignatureValidator<RsaScheme>;
static_assert(RecordValidator<RsaSignatureValidator>);

}  // namespace skep::inline v0::dht
