// Identify: what a host tells about itself on each connection, written in parts, read until the end, and filtered.
#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "skep/codec/frame.hpp"
#include "skep/codec/libp2p_messages.hpp"
#include "skep/core/bytes.hpp"
#include "skep/core/error.hpp"
#include "skep/core/remove_where.hpp"
#include "skep/core/result.hpp"
#include "skep/p2p/multiaddr.hpp"
#include "skep/p2p/peer_id.hpp"

namespace skep::inline v0::p2p {

inline constexpr std::string_view identify_protocol = "/ipfs/id/1.0.0";
inline constexpr std::string_view identify_push_protocol = "/ipfs/id/push/1.0.0";

/// From how far away an address can be reached.
enum class AddressScope { loopback, private_network, global };

[[nodiscard]] inline AddressScope scope_of(const Multiaddr& address) {
  if (address.is_loopback()) return AddressScope::loopback;
  return address.is_private() ? AddressScope::private_network : AddressScope::global;
}

/// The addresses that mean something to a peer at `remote`: over loopback all, within a private network none of
/// loopback, elsewhere only global ones. p2pd keeps a peer's addresses by this rule, so others need not be sent.
[[nodiscard]] inline std::vector<Multiaddr> addresses_for(std::vector<Multiaddr> addresses, const Multiaddr& remote) {
  const AddressScope scope = scope_of(remote);
  remove_where(addresses, [&](const Multiaddr& address) { return scope_of(address) < scope; });
  return addresses;
}

/// What a host tells about itself.
struct SelfDescription {
  Bytes public_key;                    ///< the PublicKey message
  std::vector<Multiaddr> addresses;    ///< listened on or announced, without /p2p
  std::vector<std::string> protocols;  ///< all that it accepts, names of RPC handlers included
  std::string agent;
};

/// All bytes of an identify answer or push, after which the writer closes its half (libp2p specs, identify).
/// The first message holds everything for peers that read no more than one and no more than 4 KiB of it; protocols that
/// do not fit follow in further ones. What no reader would take (beyond nine messages) is left out.
/// @param remote  where the reader is, as seen from here
[[nodiscard]] Bytes encode_identify(const SelfDescription& self, const Multiaddr& remote);

/// What a peer told about itself.
struct PeerDescription {
  std::vector<Multiaddr> addresses;  ///< where it listens, without /p2p; only those that may be reached from here
  std::vector<std::string> protocols;
  std::string agent;
  std::optional<Multiaddr> observed;  ///< where it sees us
};

/// Reads the messages of one identify stream, in pieces of any size, up to the end of the stream.
class IdentifyReader {
 public:
  static constexpr std::size_t max_message = 8192;
  static constexpr std::size_t max_messages = 9;

  /// @return errc::limit_exceeded (a message, their number, or the entries of a list), errc::malformed
  [[nodiscard]] Result<void> feed(BytesView bytes);

  /// The stream has ended: what the messages say together. No message at all is fine.
  /// A signed peer record is not looked at: the connection proves already who speaks.
  /// @param peer    who speaks; an address that ends in another peer's id is left out
  /// @param remote  where it is connected from or to: decides which of its addresses are kept
  /// @return errc::truncated when the stream ended inside a message
  [[nodiscard]] Result<PeerDescription> finish(const PeerId& peer, const Multiaddr& remote) &&;

 private:
  codec::IdentifyMessage message_;
  std::size_t messages_ = 0;
  Bytes pending_;  // the beginning of a message
};

namespace detail {

/// The address without the `/p2p/` of its own peer; none for bytes that are no address skep knows.
[[nodiscard]] inline std::optional<Multiaddr> read_peer_address(BytesView bytes, const PeerId& peer) {
  const auto address = Multiaddr::from_bytes(bytes);
  if (!address || address->is_unspecified()) return std::nullopt;
  const auto named = address->peer_id();
  if (!named) return *address;
  if (*named != peer) return std::nullopt;
  return address->without_peer();
}

}  // namespace detail

inline Bytes encode_identify(const SelfDescription& self, const Multiaddr& remote) {
  constexpr std::size_t first_limit = 4096;
  codec::IdentifyMessage part;
  part.public_key = self.public_key;
  for (const auto& address : addresses_for(self.addresses, remote)) {
    part.listen_addrs.push_back(to_bytes(address.bytes()));
  }
  part.observed_addr = to_bytes(remote.without_peer().bytes());
  part.protocol_version.emplace();
  part.agent_version = self.agent;

  Bytes out;
  std::size_t messages = 0;
  std::size_t size = part.encode().size();
  const auto flush = [&] {
    codec::append_frame(out, part.encode());
    part = {};
    size = 0;
    ++messages;
  };
  for (const auto& protocol : self.protocols) {
    const std::size_t more = codec::field_size(3, protocol.size());
    const std::size_t limit = messages == 0 ? first_limit : IdentifyReader::max_message;
    if (size + more > limit) {
      if (messages + 1 == IdentifyReader::max_messages) break;
      flush();
    }
    part.protocols.push_back(protocol);
    size += more;
  }
  flush();
  return out;
}

inline Result<void> IdentifyReader::feed(BytesView bytes) {
  append(pending_, bytes);
  BytesView rest = pending_;
  for (;;) {
    const auto frame = codec::read_frame(rest, max_message);
    if (!frame && frame.error() == skep::errc::truncated) break;
    if (!frame) return frame.error();
    if (++messages_ > max_messages) return skep::errc::limit_exceeded;
    if (const auto merged = message_.merge(frame->body); !merged) return merged;
    rest = rest.subspan(frame->size);
  }
  pending_.erase(pending_.begin(), pending_.end() - static_cast<std::ptrdiff_t>(rest.size()));
  return {};
}

inline Result<PeerDescription> IdentifyReader::finish(const PeerId& peer, const Multiaddr& remote) && {
  if (!pending_.empty()) return skep::errc::truncated;
  PeerDescription description;
  for (const auto& bytes : message_.listen_addrs) {
    if (auto address = detail::read_peer_address(bytes, peer)) description.addresses.push_back(*std::move(address));
  }
  description.addresses = addresses_for(std::move(description.addresses), remote);
  description.protocols = std::move(message_.protocols);
  description.agent = std::move(message_.agent_version).value_or("");
  if (message_.observed_addr) {
    if (const auto observed = Multiaddr::from_bytes(*message_.observed_addr)) {
      description.observed = observed->without_peer();
    }
  }
  return description;
}

}  // namespace skep::inline v0::p2p
