// RsaPublicKey: the owner of a record or an access token, written as OpenSSH does.
#pragma once

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "skep/core/bytes.hpp"
#include "skep/core/error.hpp"
#include "skep/core/handle.hpp"
#include "skep/core/result.hpp"
#include "skep/crypto/base64.hpp"
#include "skep/crypto/pkey.hpp"
#include "skep/crypto/rsa.hpp"

namespace skep::inline v0::crypto {

/// A key that checks signatures, of `min_rsa_bits` to `max_rsa_bits`. Copies share it; it is never changed.
class RsaPublicKey {
 public:
  explicit RsaPublicKey(const RsaPrivateKey& key)
      : RsaPublicKey(detail::read_public_key(key.public_key(), EVP_PKEY_RSA)) {}

  /// Reads "ssh-rsa AAAA...", with or without a comment at the end. @return errc::malformed for anything else,
  /// errc::limit_exceeded for a size that is not accepted or an exponent of more than 64 bits
  [[nodiscard]] static Result<RsaPublicKey> from_openssh(std::string_view text) {
    if (text.size() > 2 * detail::max_public_der || !text.starts_with(prefix)) return errc::malformed;
    text.remove_prefix(prefix.size());
    const auto blob = from_base64(text.substr(0, text.find(' ')));
    if (!blob) return blob.error();
    BytesView rest(*blob);
    const auto name = take_string(rest);
    const auto exponent = take_string(rest);
    const auto modulus = take_string(rest);
    if (!name || !exponent || !modulus || !rest.empty() || as_text(*name) != "ssh-rsa") return errc::malformed;
    if (exponent->size() > 8) return errc::limit_exceeded;
    detail::Pkey key = make(*modulus, *exponent);
    ERR_clear_error();
    if (!key) return errc::malformed;
    if (!detail::rsa_size_is_allowed(key.get())) return errc::limit_exceeded;
    return RsaPublicKey(std::move(key));
  }

  /// "ssh-rsa AAAA...", without a comment.
  [[nodiscard]] std::string to_openssh() const {
    Bytes blob;
    append_string(blob, as_bytes("ssh-rsa"));
    append_string(blob, number(OSSL_PKEY_PARAM_RSA_E));
    append_string(blob, number(OSSL_PKEY_PARAM_RSA_N));
    return std::string(prefix) + base64(blob);
  }

  /// Whether the owner signed `message` by `RsaPrivateKey::sign_pss`.
  [[nodiscard]] bool verify_pss(BytesView message, BytesView signature) const noexcept {
    const detail::DigestContext context(EVP_MD_CTX_new());
    EVP_PKEY_CTX* padding = nullptr;  // belongs to `context`
    const bool good =
        context && EVP_DigestVerifyInit(context.get(), &padding, EVP_sha256(), nullptr, key_.get()) == 1 &&
        detail::use_pss(padding, key_.get()) &&
        EVP_DigestVerify(context.get(), signature.data(), signature.size(), message.data(), message.size()) == 1;
    ERR_clear_error();
    return good;
  }

 private:
  static constexpr std::string_view prefix = "ssh-rsa ";
  using Number = Handle<BIGNUM, BN_free>;

  explicit RsaPublicKey(detail::Pkey key) : key_(key.release(), EVP_PKEY_free) {}

  /// The pieces of an OpenSSH blob: a length of four bytes, then as many.
  static std::optional<BytesView> take_string(BytesView& from) noexcept {
    if (from.size() < 4) return std::nullopt;
    const std::size_t size =
        std::size_t{from[0]} << 24 | std::size_t{from[1]} << 16 | std::size_t{from[2]} << 8 | from[3];
    if (size > from.size() - 4) return std::nullopt;
    const BytesView out = from.subspan(4, size);
    from = from.subspan(4 + size);
    return out;
  }
  static void append_string(Bytes& to, BytesView bytes) {
    for (int shift = 24; shift >= 0; shift -= 8) to.push_back(static_cast<std::uint8_t>(bytes.size() >> shift));
    append(to, bytes);
  }

  static detail::Pkey make(BytesView modulus, BytesView exponent) noexcept {
    const Number n(BN_bin2bn(modulus.data(), static_cast<int>(modulus.size()), nullptr));
    const Number e(BN_bin2bn(exponent.data(), static_cast<int>(exponent.size()), nullptr));
    const Handle<OSSL_PARAM_BLD, OSSL_PARAM_BLD_free> build(OSSL_PARAM_BLD_new());
    if (!n || !e || !build || !BN_is_odd(n.get()) || !BN_is_odd(e.get()) || BN_is_one(e.get()) ||
        OSSL_PARAM_BLD_push_BN(build.get(), OSSL_PKEY_PARAM_RSA_N, n.get()) != 1 ||
        OSSL_PARAM_BLD_push_BN(build.get(), OSSL_PKEY_PARAM_RSA_E, e.get()) != 1) {
      return nullptr;
    }
    const Handle<OSSL_PARAM, OSSL_PARAM_free> numbers(OSSL_PARAM_BLD_to_param(build.get()));
    const detail::PkeyContext context(EVP_PKEY_CTX_new_from_name(nullptr, "RSA", nullptr));
    EVP_PKEY* key = nullptr;
    if (!numbers || !context || EVP_PKEY_fromdata_init(context.get()) != 1 ||
        EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_PUBLIC_KEY, numbers.get()) != 1) {
      return nullptr;
    }
    return detail::Pkey(key);
  }

  /// Big-endian, with a zero in front where the first bit would mean a minus.
  [[nodiscard]] Bytes number(const char* name) const {
    BIGNUM* raw = nullptr;
    if (EVP_PKEY_get_bn_param(key_.get(), name, &raw) != 1) throw std::bad_alloc();
    const Number owner(raw);
    Bytes out(static_cast<std::size_t>(BN_num_bits(raw)) / 8 + 1);
    BN_bn2binpad(raw, out.data(), static_cast<int>(out.size()));
    return out;
  }

  std::shared_ptr<EVP_PKEY> key_;
};

}  // namespace skep::inline v0::crypto
