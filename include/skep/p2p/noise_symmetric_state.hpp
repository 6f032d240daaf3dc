// The running hash and keys of a Noise handshake.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <new>
#include <optional>
#include <string_view>
#include <utility>

#include "skep/core/bytes.hpp"
#include "skep/core/result.hpp"
#include "skep/crypto/aead.hpp"
#include "skep/crypto/hash.hpp"
#include "skep/crypto/secret.hpp"
#include "skep/p2p/error.hpp"

namespace skep::inline v0::p2p::detail {

/// The symmetric state of the Noise Protocol Framework (section 5.2), for Noise_XX_25519_ChaChaPoly_SHA256 with an
/// empty prologue.
class NoiseSymmetricState {
 public:
  NoiseSymmetricState() noexcept {
    constexpr std::string_view name = "Noise_XX_25519_ChaChaPoly_SHA256";  // as long as a hash, so it is taken as one
    std::copy(name.begin(), name.end(), hash_.begin());
    chaining_key_ = crypto::Secret<32>(hash_);
    mix_hash({});  // an empty prologue
  }

  void mix_hash(BytesView data) { hash_ = crypto::sha256(hash_, data); }
  void mix_key(const crypto::Secret<32>& shared) {
    auto [chaining_key, key] = crypto::hkdf_sha256(chaining_key_.view(), shared.view());
    chaining_key_ = chaining_key;
    key_ = key;
    nonce_ = 0;
  }
  /// Appends `plain`, sealed once there is a key.
  void encrypt_and_hash(BytesView plain, Bytes& out) {
    const std::size_t start = out.size();
    if (!key_) {
      append(out, plain);
    } else {
      out.resize(start + plain.size() + crypto::aead_tag_size);
      if (!crypto::AeadSealer(*key_).seal(nonce_++, hash_, plain, out.data() + start)) throw std::bad_alloc();
    }
    mix_hash(BytesView(out).subspan(start));
  }
  [[nodiscard]] Result<Bytes> decrypt_and_hash(BytesView sealed) {
    Bytes plain = to_bytes(sealed);
    if (key_) {
      if (!crypto::AeadOpener(*key_).open(nonce_++, hash_, plain)) return errc::not_authentic;
      plain.resize(plain.size() - crypto::aead_tag_size);
    }
    mix_hash(sealed);
    return plain;
  }
  /// The keys from initiator to responder, and back.
  [[nodiscard]] std::pair<crypto::Secret<32>, crypto::Secret<32>> split() const {
    return crypto::hkdf_sha256(chaining_key_.view(), {});
  }
  [[nodiscard]] const crypto::Sha256Digest& hash() const noexcept { return hash_; }

 private:
  crypto::Sha256Digest hash_{};
  crypto::Secret<32> chaining_key_;
  std::optional<crypto::Secret<32>> key_;
  std::uint64_t nonce_ = 0;
};

}  // namespace skep::inline v0::p2p::detail
