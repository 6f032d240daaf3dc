// ChaCha20-Poly1305 (RFC 8439) with the nonces of Noise, sealed from scattered pieces and opened in place.
#pragma once

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <new>
#include <span>

#include "skep/core/bytes.hpp"
#include "skep/core/endian.hpp"
#include "skep/core/handle.hpp"
#include "skep/crypto/secret.hpp"

namespace skep::inline v0::crypto {

/// Bytes that sealing adds.
inline constexpr std::size_t aead_tag_size = 16;

namespace detail {

/// libcrypto's context for one key and one direction; its making and its key schedule cost more than a small record,
/// so it is kept as long as the key.
class AeadContext {
 public:
  AeadContext(const Secret<32>& key, bool sealing) : context_(EVP_CIPHER_CTX_new()) {
    constexpr std::array<std::uint8_t, 12> no_nonce{};
    if (!context_ || EVP_CipherInit_ex2(context_.get(), EVP_chacha20_poly1305(), key.view().data(), no_nonce.data(),
                                        sealing ? 1 : 0, nullptr) != 1) {
      throw std::bad_alloc();
    }
  }

  [[nodiscard]] EVP_CIPHER_CTX* get() const noexcept { return context_.get(); }

  /// Begins a message. The nonce is four zero bytes and the number, little-endian (Noise, section 12.3).
  [[nodiscard]] bool start(std::uint64_t nonce, BytesView associated) noexcept {
    std::array<std::uint8_t, 12> iv{};
    store_le(iv.data() + 4, nonce);
    if (EVP_CipherInit_ex2(context_.get(), nullptr, nullptr, iv.data(), -1, nullptr) != 1) return false;
    int written = 0;
    return associated.empty() || EVP_CipherUpdate(context_.get(), nullptr, &written, associated.data(),
                                                  static_cast<int>(associated.size())) == 1;
  }
  /// Transforms bytes, in place or not. Cut into pieces that stay in the first-level cache between the cipher's pass
  /// and the authenticator's.
  [[nodiscard]] bool update(BytesView in, std::uint8_t* out) noexcept {
    constexpr std::size_t piece = 8 * 1024;
    while (!in.empty()) {
      const std::size_t n = std::min(in.size(), piece);
      int written = 0;
      if (EVP_CipherUpdate(context_.get(), out, &written, in.data(), static_cast<int>(n)) != 1) return false;
      in = in.subspan(n);
      out += n;
    }
    return true;
  }

 private:
  Handle<EVP_CIPHER_CTX, EVP_CIPHER_CTX_free> context_;
};

}  // namespace detail

/// Encrypts messages under one key. A message is `start`, any number of `update`, `finish`: pieces are read where they
/// lie and written once, as cipher text.
class AeadSealer {
 public:
  explicit AeadSealer(const Secret<32>& key) : context_(key, true) {}

  /// Begins a message. The caller never uses a nonce twice under one key.
  void start(std::uint64_t nonce, BytesView associated = {}) noexcept { good_ = context_.start(nonce, associated); }
  /// Encrypts the next piece to `out`, which has room for as many bytes and may be the piece itself.
  void update(BytesView plain, std::uint8_t* out) noexcept { good_ = good_ && context_.update(plain, out); }
  /// Writes the tag of `aead_tag_size` bytes. @return false when libcrypto failed: nothing of the message may be sent.
  [[nodiscard]] bool finish(std::uint8_t* tag) noexcept {
    int written = 0;
    return good_ && EVP_CipherFinal_ex(context_.get(), tag, &written) == 1 &&
           EVP_CIPHER_CTX_ctrl(context_.get(), EVP_CTRL_AEAD_GET_TAG, aead_tag_size, tag) == 1;
  }
  /// One whole message: `out` has room for `plain` and the tag.
  [[nodiscard]] bool seal(std::uint64_t nonce, BytesView associated, BytesView plain, std::uint8_t* out) noexcept {
    start(nonce, associated);
    update(plain, out);
    return finish(out + plain.size());
  }

 private:
  detail::AeadContext context_;
  bool good_ = false;
};

/// Decrypts messages under one key.
class AeadOpener {
 public:
  explicit AeadOpener(const Secret<32>& key) : context_(key, false) {}

  /// Decrypts cipher text and tag in place. @return whether the tag is right; if not, the bytes are wiped.
  [[nodiscard]] bool open(std::uint64_t nonce, BytesView associated, MutableBytes sealed) noexcept {
    if (sealed.size() < aead_tag_size) return false;
    const MutableBytes text = sealed.first(sealed.size() - aead_tag_size);
    int written = 0;
    std::uint8_t* const tag = text.data() + text.size();
    const bool good = context_.start(nonce, associated) && context_.update(text, text.data()) &&
                      EVP_CIPHER_CTX_ctrl(context_.get(), EVP_CTRL_AEAD_SET_TAG, aead_tag_size, tag) == 1 &&
                      EVP_CipherFinal_ex(context_.get(), tag, &written) == 1;
    if (!good) wipe(text);
    return good;
  }

 private:
  detail::AeadContext context_;
};

}  // namespace skep::inline v0::crypto
