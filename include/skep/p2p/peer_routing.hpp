// Peer routing (/ipfs/kad/1.0.0) as pure machines: who belongs into the routing table, what is answered to whom, and
// the search for a peer whose addresses nobody has told us yet.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <optional>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "skep/codec/kad_messages.hpp"
#include "skep/core/bytes.hpp"
#include "skep/core/error.hpp"
#include "skep/core/remove_where.hpp"
#include "skep/core/result.hpp"
#include "skep/crypto/hash.hpp"
#include "skep/kademlia/id.hpp"
#include "skep/kademlia/lookup.hpp"
#include "skep/kademlia/routing_table.hpp"
#include "skep/p2p/multiaddr.hpp"
#include "skep/p2p/peer_id.hpp"

namespace skep::inline v0::p2p {

inline constexpr std::string_view routing_protocol = "/ipfs/kad/1.0.0";

/// Where a key stands among the peers: the SHA-256 of its bytes (libp2p specs, kad-dht).
using RoutingId = kademlia::Id<256>;

[[nodiscard]] inline RoutingId routing_id(BytesView key) { return RoutingId(crypto::sha256(key)); }
[[nodiscard]] inline RoutingId routing_id(const PeerId& peer) { return routing_id(peer.bytes()); }

/// The question for the peers nearest to a key, as p2pd asks it.
[[nodiscard]] inline codec::KadMessage find_node_request(BytesView key) {
  return {.type = codec::KadType::find_node, .key = to_bytes(key), .closer_peers = {}, .cluster_level = 1};
}

/// A peer and where others say it is.
struct RoutedPeer {
  PeerId id;
  std::vector<Multiaddr> addresses;

  friend bool operator==(const RoutedPeer&, const RoutedPeer&) = default;
};

/// Everybody that a message names and skep can read. An entry with bytes that are no peer id, or addresses that are
/// none, spoils nothing but itself.
[[nodiscard]] inline std::vector<RoutedPeer> read_closer_peers(const codec::KadMessage& message) {
  constexpr std::size_t max_peers = 64;  // ordinary answers name at most 21
  constexpr std::size_t max_addresses = 16;
  std::vector<RoutedPeer> out;
  for (const auto& entry : message.closer_peers) {
    if (out.size() == max_peers) break;
    const auto id = PeerId::from_bytes(entry.id);
    if (!id) continue;
    RoutedPeer peer{*id, {}};
    for (const auto& bytes : entry.addrs) {
      if (peer.addresses.size() == max_addresses) break;
      const auto address = Multiaddr::from_bytes(bytes);
      if (!address || address->is_unspecified()) continue;
      const auto named = address->peer_id();
      if (!named || *named == *id) peer.addresses.push_back(address->without_peer());
    }
    out.push_back(std::move(peer));
  }
  return out;
}

/// The routing table of a host, and its answers from it.
class PeerRouting {
 public:
  using Table = kademlia::RoutingTable<RoutingId, PeerId>;
  static constexpr std::size_t bucket_size = 20;

  explicit PeerRouting(const PeerId& self)
      : self_(self), table_(routing_id(self), {.bucket_size = bucket_size, .depth_modulo = 1, .replacements = 5}) {}

  [[nodiscard]] const PeerId& self() const noexcept { return self_; }
  [[nodiscard]] const Table& table() const noexcept { return table_; }
  [[nodiscard]] bool contains(const PeerId& peer) const { return table_.find(routing_id(peer)) != nullptr; }

  /// A peer told what it speaks (identify or push). One that serves routing and is not in the table has to prove it:
  /// @return true when the caller shall send it `probe_request(peer)` and report `probed` or `failed`.
  [[nodiscard]] bool identified(const PeerId& peer, bool serves_routing) {
    if (peer == self_) return false;
    if (!serves_routing) {
      failed(peer);
      return false;
    }
    return !contains(peer) && probing_.insert(peer).second;
  }
  /// Asks a peer for itself: who serves routing answers with at least one entry.
  [[nodiscard]] static codec::KadMessage probe_request(const PeerId& peer) { return find_node_request(peer.bytes()); }

  /// A peer answered its probe. An answer that names nobody does not admit it.
  /// @return another peer, to be probed because the table is full and its place is in question
  [[nodiscard]] std::optional<PeerId> probed(const PeerId& peer, const codec::KadMessage& answer) {
    if (answer.type != codec::KadType::find_node || answer.closer_peers.empty()) {
      failed(peer);
      return std::nullopt;
    }
    probing_.erase(peer);
    const auto heard = table_.heard(routing_id(peer), peer);
    if (!heard.ping || !probing_.insert(heard.ping->contact).second) return std::nullopt;
    return heard.ping->contact;
  }

  /// A peer could not be dialled, did not answer a question, or serves routing no more: it leaves the table. One that
  /// merely closed its connection stays.
  void failed(const PeerId& peer) {
    probing_.erase(peer);
    table_.silent(routing_id(peer));
  }

  /// The answer to a question; a host that does not serve routing must not call it, nor list the protocol.
  /// @param requester     is never told about itself
  /// @param addresses_of  `std::vector<Multiaddr>(const PeerId&)`: what is remembered of a peer; of this host itself,
  ///                      where it listens. A peer without addresses is not named.
  /// @return errc::refused or errc::malformed: the stream has to be reset
  template <std::invocable<const PeerId&> AddressesOf>
  [[nodiscard]] Result<codec::KadMessage> answer(const codec::KadMessage& request, const PeerId& requester,
                                                 AddressesOf addresses_of) const {
    if (request.type == codec::KadType::ping) return request;
    if (request.type != codec::KadType::find_node) return skep::errc::refused;
    if (request.key.empty()) return skep::errc::malformed;
    codec::KadMessage answer{.type = codec::KadType::find_node,
                             .key = {},
                             .closer_peers = {},
                             .cluster_level = request.cluster_level == 0 ? 1 : request.cluster_level};
    const auto name = [&](const PeerId& peer) {
      codec::KadPeer entry{.id = to_bytes(peer.bytes()), .addrs = {}};
      for (const Multiaddr& address : addresses_of(peer)) entry.addrs.push_back(to_bytes(address.bytes()));
      if (!entry.addrs.empty() || peer == self_) answer.closer_peers.push_back(std::move(entry));
    };
    const auto target = PeerId::from_bytes(request.key);
    if (target && *target == self_) {
      name(self_);
      return answer;
    }
    bool named = !target || *target == requester;
    for (const auto& entry : table_.nearest(routing_id(request.key), bucket_size, routing_id(requester))) {
      named = named || entry.contact == *target;
      name(entry.contact);
    }
    if (!named) name(*target);  // whether or not it serves routing itself
    return answer;
  }

 private:
  PeerId self_;
  Table table_;
  std::unordered_set<PeerId> probing_;
};

/// One search for a peer's addresses. The caller asks up to `max_parallel` peers at once: each that `next` names gets
/// `request()`, and its fate comes back as `answered` or `failed`. Done when `finished`, or as soon as the target can
/// be reached at one of the addresses that are `found`.
class FindPeer {
 public:
  static constexpr std::size_t max_parallel = 10;

  FindPeer(const PeerRouting& routing, const PeerId& target)
      : target_(target),
        lookup_(routing_id(target), routing_id(routing.self()),
                {.width = PeerRouting::bucket_size, .parallelism = max_parallel, .max_requests = 128}) {
    for (const auto& entry : routing.table().nearest(lookup_.target(), PeerRouting::bucket_size)) add(entry.contact);
  }

  /// Somebody else to ask, e.g. a connected peer while the table is empty.
  void add(const PeerId& peer) {
    if (peer != target_) lookup_.add({routing_id(peer), peer});
  }

  [[nodiscard]] const PeerId& target() const noexcept { return target_; }
  [[nodiscard]] codec::KadMessage request() const { return find_node_request(target_.bytes()); }

  /// Whom to ask now; none while enough are asked, or when nobody is left.
  [[nodiscard]] std::optional<PeerId> next() {
    auto entry = lookup_.next();
    if (!entry) return std::nullopt;
    return std::move(entry->contact);
  }

  /// @return whom the answer named with addresses: to be remembered for a short while, for some will be asked next
  std::vector<RoutedPeer> answered(const PeerId& peer, const codec::KadMessage& answer) {
    auto named = read_closer_peers(answer);
    remove_where(named, [](const RoutedPeer& one) { return one.addresses.empty(); });
    for (const auto& one : named) {
      if (one.id != target_) {
        add(one.id);
        continue;
      }
      for (const auto& address : one.addresses) {
        if (found_.size() < max_found && std::find(found_.begin(), found_.end(), address) == found_.end()) {
          found_.push_back(address);
        }
      }
    }
    lookup_.answered({routing_id(peer), peer});
    return named;
  }
  void failed(const PeerId& peer) { lookup_.failed({routing_id(peer), peer}); }

  /// Addresses of the target that were named so far.
  [[nodiscard]] const std::vector<Multiaddr>& found() const noexcept { return found_; }
  /// Nobody is left to ask and nobody owes an answer.
  [[nodiscard]] bool finished() const { return lookup_.finished(); }

 private:
  static constexpr std::size_t max_found = 32;

  PeerId target_;
  kademlia::Lookup<RoutingId, PeerId> lookup_;
  std::vector<Multiaddr> found_;
};

}  // namespace skep::inline v0::p2p
