// RSA keys: PKCS 1 signatures for the identity of Hivemind peers that keep a key file, PSS for records and requests.
#pragma once

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <cstddef>
#include <memory>
#include <new>
#include <utility>

#include "skep/core/bytes.hpp"
#include "skep/core/error.hpp"
#include "skep/core/result.hpp"
#include "skep/crypto/pkey.hpp"

namespace skep::inline v0::crypto {

/// The sizes that libp2p accepts: smaller keys are weak, larger ones cost too much to verify.
inline constexpr int min_rsa_bits = 2048;
inline constexpr int max_rsa_bits = 8192;

namespace detail {

[[nodiscard]] inline bool rsa_size_is_allowed(EVP_PKEY* key) noexcept {
  const int bits = EVP_PKEY_get_bits(key);
  return bits >= min_rsa_bits && bits <= max_rsa_bits;
}

/// Calls one of libcrypto's i2d functions: once for the size, once for the bytes.
template <class Write>
[[nodiscard]] Bytes to_der(EVP_PKEY* key, Write write) {
  const int size = write(key, nullptr);
  if (size <= 0) throw std::bad_alloc();
  Bytes der(static_cast<std::size_t>(size));
  unsigned char* at = der.data();
  write(key, &at);
  return der;
}

}  // namespace detail

namespace detail {

/// The padding of Hivemind's signatures: PSS over SHA-256 with the longest salt that the key has room for.
[[nodiscard]] inline bool use_pss(EVP_PKEY_CTX* context, EVP_PKEY* key) noexcept {
  const int salt = (EVP_PKEY_get_bits(key) + 6) / 8 - 32 - 2;
  return EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) == 1 &&
         EVP_PKEY_CTX_set_rsa_pss_saltlen(context, salt) == 1;
}

}  // namespace detail

/// A signing key. Copies share it; it is never changed.
class RsaPrivateKey {
 public:
  /// A new key with exponent 65537. Takes tens to hundreds of milliseconds.
  [[nodiscard]] static RsaPrivateKey generate(unsigned bits = 2048) {
    detail::Pkey key(EVP_RSA_gen(bits));
    if (!key) throw std::bad_alloc();
    return RsaPrivateKey(std::move(key));
  }
  /// A key that lives as long as the process, for those who were given none.
  [[nodiscard]] static const RsaPrivateKey& process_wide() {
    static const RsaPrivateKey key = generate();
    return key;
  }
  /// Reads a DER PKCS#1 RSAPrivateKey. @return errc::malformed for anything else, errc::limit_exceeded for a size that
  /// libp2p does not accept.
  [[nodiscard]] static Result<RsaPrivateKey> from_pkcs1(BytesView der) {
    const unsigned char* at = der.data();
    detail::Pkey key(d2i_PrivateKey(EVP_PKEY_RSA, nullptr, &at, static_cast<long>(der.size())));
    ERR_clear_error();
    if (!key || at != der.data() + der.size()) return errc::malformed;
    if (!detail::rsa_size_is_allowed(key.get())) return errc::limit_exceeded;
    return RsaPrivateKey(std::move(key));
  }

  /// DER PKCS#1, as key files hold it. The caller wipes it.
  [[nodiscard]] Bytes to_pkcs1() const { return detail::to_der(key_.get(), i2d_PrivateKey); }
  /// DER SubjectPublicKeyInfo, the data of a PublicKey message.
  [[nodiscard]] Bytes public_key() const { return detail::to_der(key_.get(), i2d_PUBKEY); }

  /// RSASSA-PKCS1-v1_5, as identities sign.
  [[nodiscard]] Bytes sign(BytesView message) const { return sign(message, false); }
  /// RSASSA-PSS with the longest salt, as records and requests are signed; different each time.
  [[nodiscard]] Bytes sign_pss(BytesView message) const { return sign(message, true); }

 private:
  explicit RsaPrivateKey(detail::Pkey key) : key_(key.release(), EVP_PKEY_free) {}

  [[nodiscard]] Bytes sign(BytesView message, bool pss) const {
    const detail::DigestContext context(EVP_MD_CTX_new());
    std::size_t size = static_cast<std::size_t>(EVP_PKEY_get_size(key_.get()));
    Bytes signature(size);
    EVP_PKEY_CTX* padding = nullptr;  // belongs to `context`
    if (!context || EVP_DigestSignInit(context.get(), &padding, EVP_sha256(), nullptr, key_.get()) != 1 ||
        (pss && !detail::use_pss(padding, key_.get())) ||
        EVP_DigestSign(context.get(), signature.data(), &size, message.data(), message.size()) != 1) {
      throw std::bad_alloc();
    }
    signature.resize(size);
    return signature;
  }

  std::shared_ptr<EVP_PKEY> key_;
};

/// Whether the owner of a public key (DER SubjectPublicKeyInfo of `min_rsa_bits` to `max_rsa_bits`) signed `message`.
[[nodiscard]] inline bool rsa_verify(BytesView public_key, BytesView message, BytesView signature) noexcept {
  const detail::Pkey key = detail::read_public_key(public_key, EVP_PKEY_RSA);
  const bool good =
      key && detail::rsa_size_is_allowed(key.get()) && detail::verify_sha256(key.get(), message, signature);
  ERR_clear_error();
  return good;
}

}  // namespace skep::inline v0::crypto
