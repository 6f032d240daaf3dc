// libcrypto's keys held safely: what RSA and ECDSA share.
#pragma once

#include <openssl/evp.h>
#include <openssl/x509.h>

#include <cstddef>

#include "skep/core/bytes.hpp"
#include "skep/core/handle.hpp"
#include "skep/crypto/hash.hpp"

namespace skep::inline v0::crypto::detail {

using Pkey = Handle<EVP_PKEY, EVP_PKEY_free>;
using PkeyContext = Handle<EVP_PKEY_CTX, EVP_PKEY_CTX_free>;

/// DER of a longer key is not looked at; an RSA key of 8192 bits takes 1062 bytes.
inline constexpr std::size_t max_public_der = 2048;

/// Reads a DER SubjectPublicKeyInfo that must fill `der` and be of one kind (EVP_PKEY_RSA, ...). Null if it is not.
[[nodiscard]] inline Pkey read_public_key(BytesView der, int kind) noexcept {
  if (der.empty() || der.size() > max_public_der) return nullptr;
  const unsigned char* at = der.data();
  Pkey key(d2i_PUBKEY(nullptr, &at, static_cast<long>(der.size())));
  if (!key || at != der.data() + der.size() || EVP_PKEY_get_base_id(key.get()) != kind) return nullptr;
  return key;
}

/// Whether a signature over the SHA-256 of `message` is right, in the key's ordinary form.
[[nodiscard]] inline bool verify_sha256(EVP_PKEY* key, BytesView message, BytesView signature) noexcept {
  const DigestContext context(EVP_MD_CTX_new());
  return context && EVP_DigestVerifyInit(context.get(), nullptr, EVP_sha256(), nullptr, key) == 1 &&
         EVP_DigestVerify(context.get(), signature.data(), signature.size(), message.data(), message.size()) == 1;
}

}  // namespace skep::inline v0::crypto::detail
