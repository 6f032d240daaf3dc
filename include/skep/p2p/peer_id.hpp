// PeerId: the name of a libp2p peer, the multihash of its public key.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "skep/codec/base32.hpp"
#include "skep/codec/base58.hpp"
#include "skep/core/bytes.hpp"
#include "skep/core/error.hpp"
#include "skep/core/result.hpp"
#include "skep/crypto/hash.hpp"

namespace skep::inline v0::p2p {

/// A peer id (libp2p specs, peer-ids): an identity multihash of a short public key message (Ed25519: 38 bytes,
/// "12D3KooW...") or a SHA-256 multihash of a longer one (RSA: 34 bytes, "Qm..."). A small value; empty means "nobody".
class PeerId {
 public:
  static constexpr std::size_t max_size = 44;
  /// A longer public key message is hashed.
  static constexpr std::size_t max_inlined_key = 42;

  PeerId() = default;

  /// Reads the binary form. @return errc::malformed unless it is an identity multihash of at most 42 bytes or SHA-256.
  [[nodiscard]] static Result<PeerId> from_bytes(BytesView multihash) {
    const auto starts_with = [&](std::uint8_t code, std::size_t length) {
      return multihash.size() == length + 2 && multihash[0] == code && multihash[1] == length;
    };
    const bool inlined = multihash.size() > 2 && multihash.size() <= max_size && starts_with(0, multihash.size() - 2);
    if (!inlined && !starts_with(0x12, 32)) return skep::errc::malformed;
    PeerId id;
    id.multihash_ = as_text(multihash);
    return id;
  }
  /// Reads base58btc ("12D3KooW...", "Qm...") or the CIDv1 text ("bafz...").
  [[nodiscard]] static Result<PeerId> from_text(std::string_view text) {
    if (!text.starts_with("Qm") && !text.starts_with('1')) return from_cid(text);
    const auto multihash = codec::base58_decode(text);
    if (!multihash) return multihash.error();
    return from_bytes(*multihash);
  }
  /// The id of a serialized PublicKey message.
  [[nodiscard]] static PeerId of_public_key(BytesView public_key_message) {
    PeerId id;
    if (public_key_message.size() <= max_inlined_key) {
      id.multihash_ = {'\0', static_cast<char>(public_key_message.size())};
      id.multihash_ += as_text(public_key_message);
    } else {
      id.multihash_ = "\x12\x20";
      id.multihash_ += as_text(crypto::sha256(public_key_message));
    }
    return id;
  }

  [[nodiscard]] BytesView bytes() const noexcept { return as_bytes(multihash_); }
  /// Base58btc, as it stands in multiaddrs, records and messages.
  [[nodiscard]] std::string to_string() const { return codec::base58_encode(bytes()); }
  [[nodiscard]] bool empty() const noexcept { return multihash_.empty(); }
  /// The PublicKey message itself, where the id contains it (identity multihash); empty otherwise.
  [[nodiscard]] BytesView inlined_public_key() const noexcept {
    return multihash_.starts_with('\0') ? bytes().subspan(2) : BytesView();
  }

  friend auto operator<=>(const PeerId&, const PeerId&) = default;

 private:
  /// CIDv1 in base32 or base58btc: version 1, codec libp2p-key (0x72), the multihash.
  [[nodiscard]] static Result<PeerId> from_cid(std::string_view text) {
    if (text.empty() || text.size() > codec::max_base58_text) return skep::errc::malformed;
    Result<Bytes> cid = skep::errc::malformed;
    if (text.front() == 'b') cid = codec::base32_decode(text.substr(1));
    if (text.front() == 'z') cid = codec::base58_decode(text.substr(1));
    if (!cid) return cid.error();
    if (cid->size() < 2 || (*cid)[0] != 0x01 || (*cid)[1] != 0x72) return skep::errc::malformed;
    return from_bytes(BytesView(*cid).subspan(2));
  }

  std::string multihash_;

  friend struct std::hash<PeerId>;
};

}  // namespace skep::inline v0::p2p

template <>
struct std::hash<skep::p2p::PeerId> {
  std::size_t operator()(const skep::p2p::PeerId& id) const noexcept { return std::hash<std::string>{}(id.multihash_); }
};
