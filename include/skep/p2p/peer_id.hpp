// PeerId: the name of a libp2p peer, the multihash of its public key.
#pragma once

#include <compare>
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

#include "skep/core/bytes.hpp"
#include "skep/core/result.hpp"

namespace skep::inline v0::p2p {

/// A peer id (libp2p specs, peer-ids): an identity multihash of a short public key message (Ed25519: 38 bytes,
/// "12D3KooW...") or a SHA-256 multihash of a longer one (RSA: 34 bytes, "Qm..."). A small value; empty means "nobody".
class PeerId {
 public:
  static constexpr std::size_t max_size = 44;

  PeerId() = default;

  /// Reads the binary form. @return errc::malformed unless it is an identity multihash of at most 42 bytes or SHA-256.
  [[nodiscard]] static Result<PeerId> from_bytes(BytesView multihash);
  /// Reads base58btc ("12D3KooW...", "Qm...") or the CIDv1 text ("bafz...").
  [[nodiscard]] static Result<PeerId> from_text(std::string_view text);
  /// The id of a serialized PublicKey message.
  [[nodiscard]] static PeerId of_public_key(BytesView public_key_message);

  [[nodiscard]] BytesView bytes() const noexcept { return as_bytes(multihash_); }
  /// Base58btc, as it stands in multiaddrs, records and messages.
  [[nodiscard]] std::string to_string() const;
  [[nodiscard]] bool empty() const noexcept { return multihash_.empty(); }
  /// The PublicKey message itself, where the id contains it (identity multihash); empty otherwise.
  [[nodiscard]] BytesView inlined_public_key() const noexcept;

  friend auto operator<=>(const PeerId&, const PeerId&) = default;

 private:
  std::string multihash_;

  friend struct std::hash<PeerId>;
};

}  // namespace skep::inline v0::p2p

template <>
struct std::hash<skep::p2p::PeerId> {
  std::size_t operator()(const skep::p2p::PeerId& id) const noexcept { return std::hash<std::string>{}(id.multihash_); }
};
