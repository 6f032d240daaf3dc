// ECDSA signatures over SHA-256, only verified: identities that other libp2p implementations may bring.
#pragma once

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/params.h>

#include <array>
#include <cstdint>

#include "skep/core/bytes.hpp"
#include "skep/crypto/pkey.hpp"

namespace skep::inline v0::crypto {

/// Whether the owner of a public key (DER SubjectPublicKeyInfo) made the DER signature of `message`.
[[nodiscard]] inline bool ecdsa_verify(BytesView public_key, BytesView message, BytesView signature) noexcept {
  const detail::Pkey key = detail::read_public_key(public_key, EVP_PKEY_EC);
  const bool good = key && detail::verify_sha256(key.get(), message, signature);
  ERR_clear_error();
  return good;
}

/// The same for a key on the curve secp256k1 in its compressed form of 33 bytes.
[[nodiscard]] inline bool secp256k1_verify(BytesView public_key, BytesView message, BytesView signature) noexcept {
  if (public_key.size() != 33) return false;
  char curve[] = "secp256k1";
  const std::array<OSSL_PARAM, 3> parameters{
      OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, curve, 0),
      OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, const_cast<std::uint8_t*>(public_key.data()),
                                        public_key.size()),
      OSSL_PARAM_construct_end()};
  const detail::PkeyContext context(EVP_PKEY_CTX_new_from_name(nullptr, "EC", nullptr));
  EVP_PKEY* made = nullptr;
  bool good =
      context && EVP_PKEY_fromdata_init(context.get()) == 1 &&
      EVP_PKEY_fromdata(context.get(), &made, EVP_PKEY_PUBLIC_KEY, const_cast<OSSL_PARAM*>(parameters.data())) == 1;
  const detail::Pkey key(made);
  good = good && detail::verify_sha256(key.get(), message, signature);
  ERR_clear_error();
  return good;
}

}  // namespace skep::inline v0::crypto
