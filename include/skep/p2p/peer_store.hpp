// PeerStore: what is known about other peers, bounded and forgotten in time: addresses, protocols, failed dials.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "skep/core/remove_where.hpp"
#include "skep/core/time.hpp"
#include "skep/p2p/multiaddr.hpp"
#include "skep/p2p/peer_id.hpp"

namespace skep::inline v0::p2p {

/// How long an address is left alone after its `failures`-th failed dial in a row: 5 s + n^2 s, at most 5 minutes, as
/// p2pd does.
[[nodiscard]] constexpr Duration dial_back_off(std::uint32_t failures) noexcept {
  if (failures == 0) return Duration::zero();
  if (failures >= 18) return 5min;
  return 5s + std::chrono::seconds(std::uint64_t{failures} * failures);
}

/// How much a `PeerStore` keeps.
struct PeerStoreLimits {
  std::size_t peers = 4096;           ///< beside the connected ones
  std::size_t addresses = 32;         ///< for each peer
  std::size_t address_size = 512;     ///< bytes of one address
  Duration after_disconnect = 30min;  ///< how long a peer's own addresses outlive its last connection
};

/// The address book of a host. Pure: time comes as an argument. What a connected peer told about itself lives as long
/// as the connection and half an hour longer; what others told about it lives as long as the caller says. When the book
/// is full, the peer whose addresses would be forgotten first gives way; connected peers never do.
class PeerStore {
 public:
  explicit PeerStore(PeerStoreLimits limits = {}) noexcept : limits_(limits) {}

  /// Adds an address of a peer until `expires` (SteadyTime::max() for what the user gave); a known one lives at least
  /// as long. Addresses are kept without the /p2p at their end, and found with or without it.
  void add_address(const PeerId& peer, const Multiaddr& address, SteadyTime now, SteadyTime expires) {
    if (expires <= now || address.bytes().size() > limits_.address_size) return;
    Peer* known = find_or_insert(peer, now, expires);
    if (known == nullptr) return;
    add(*known, address.without_peer(), now, expires);
  }

  /// A connection to the peer was made; there may be several.
  void connected(const PeerId& peer) { ++peers_[peer].connections; }

  /// One of its connections has ended. After the last one its protocols are forgotten.
  void disconnected(const PeerId& peer, SteadyTime now) {
    const auto known = peers_.find(peer);
    if (known == peers_.end() || known->second.connections == 0) return;
    if (--known->second.connections > 0) return;
    known->second.protocols.clear();
    known->second.agent.clear();
    const SteadyTime expires = deadline_after(now, limits_.after_disconnect);
    for (auto& address : known->second.addresses) {
      if (address.told_by_itself) address.expires = std::max(address.expires, expires);
    }
    if (known->second.addresses.empty()) {
      peers_.erase(known);
    } else {
      make_room(now, {});
    }
  }
  [[nodiscard]] bool is_connected(const PeerId& peer) const noexcept {
    const auto known = peers_.find(peer);
    return known != peers_.end() && known->second.connections > 0;
  }

  /// What a connected peer told about itself: replaces what it told before. Ignored when it is not connected any more.
  void identified(const PeerId& peer, const std::vector<Multiaddr>& addresses, std::vector<std::string> protocols,
                  SteadyTime now) {
    const auto found = peers_.find(peer);
    if (found == peers_.end() || found->second.connections == 0) return;
    Peer& known = found->second;
    known.protocols = std::move(protocols);
    for (auto& address : known.addresses) address.told_by_itself = false;
    const SteadyTime expires = deadline_after(now, limits_.after_disconnect);
    for (const auto& address : addresses) {
      if (address.bytes().size() > limits_.address_size) continue;
      if (Address* kept = add(known, address.without_peer(), now, expires)) kept->told_by_itself = true;
    }
  }

  /// The program that a connected peer says it is; the beginning of a long name. Ignored when it is not connected any
  /// more.
  void set_agent(const PeerId& peer, std::string_view agent) {
    const auto known = peers_.find(peer);
    if (known != peers_.end() && known->second.connections > 0) known->second.agent = agent.substr(0, 128);
  }
  /// Empty when it is not connected or has told nothing yet.
  [[nodiscard]] std::string agent(const PeerId& peer) const {
    const auto known = peers_.find(peer);
    return known == peers_.end() ? std::string() : known->second.agent;
  }

  /// Whether a connected peer listed the protocol. False may also mean that it has told nothing yet.
  [[nodiscard]] bool supports(const PeerId& peer, std::string_view protocol) const noexcept {
    const auto known = peers_.find(peer);
    return known != peers_.end() && std::find(known->second.protocols.begin(), known->second.protocols.end(),
                                              protocol) != known->second.protocols.end();
  }

  /// All addresses that are remembered, dialable or not: what other peers are told about this one.
  [[nodiscard]] std::vector<Multiaddr> addresses(const PeerId& peer, SteadyTime now) const {
    std::vector<Multiaddr> out;
    if (const auto known = peers_.find(peer); known != peers_.end()) {
      for (const auto& address : known->second.addresses) {
        if (remembered(known->second, address, now)) out.push_back(address.multiaddr);
      }
    }
    return out;
  }

  /// The TCP addresses that may be dialled now, those that failed less often first.
  [[nodiscard]] std::vector<Multiaddr> dialable(const PeerId& peer, SteadyTime now) const {
    std::vector<const Address*> usable;
    const auto fewer_failures = [](const Address* a, const Address* b) { return a->failures < b->failures; };
    if (const auto known = peers_.find(peer); known != peers_.end()) {
      for (const auto& address : known->second.addresses) {
        if (!remembered(known->second, address, now) || !address.multiaddr.tcp() || address.blocked_until > now)
          continue;
        usable.insert(std::upper_bound(usable.begin(), usable.end(), &address, fewer_failures), &address);
      }
    }
    std::vector<Multiaddr> out;
    out.reserve(usable.size());
    for (const Address* address : usable) out.push_back(address->multiaddr);
    return out;
  }

  /// When the first of its addresses may be dialled (again); none when no TCP address is known.
  [[nodiscard]] std::optional<SteadyTime> dialable_at(const PeerId& peer, SteadyTime now) const {
    std::optional<SteadyTime> first;
    if (const auto known = peers_.find(peer); known != peers_.end()) {
      for (const auto& address : known->second.addresses) {
        if (!remembered(known->second, address, now) || !address.multiaddr.tcp()) continue;
        const SteadyTime when = std::max(now, address.blocked_until);
        first = first ? std::min(*first, when) : when;
      }
    }
    return first;
  }

  /// A dial of a known address failed: it is left alone for `dial_back_off`.
  void dial_failed(const PeerId& peer, const Multiaddr& address, SteadyTime now) {
    if (Address* known = find(peer, address)) {
      const Duration last = dial_back_off(known->failures);
      if (known->failures > 0 && now - known->blocked_until > last) known->failures = 0;  // long ago
      known->blocked_until = now + dial_back_off(++known->failures);
    }
  }
  void dial_succeeded(const PeerId& peer, const Multiaddr& address) {
    if (Address* known = find(peer, address)) {
      known->failures = 0;
      known->blocked_until = SteadyTime::min();
    }
  }

  [[nodiscard]] std::size_t size() const noexcept { return peers_.size(); }

 private:
  struct Address {
    Multiaddr multiaddr;
    SteadyTime expires;
    SteadyTime blocked_until = SteadyTime::min();
    std::uint32_t failures = 0;
    bool told_by_itself = false;  // on a connection that may still be there
  };
  struct Peer {
    std::vector<Address> addresses;
    std::vector<std::string> protocols;
    std::string agent;
    std::size_t connections = 0;
  };

  static bool remembered(const Peer& peer, const Address& address, SteadyTime now) noexcept {
    return address.expires > now || (address.told_by_itself && peer.connections > 0);
  }
  /// When the last of its addresses is forgotten.
  static SteadyTime forgotten_at(const Peer& peer) noexcept {
    SteadyTime last = SteadyTime::min();
    for (const auto& address : peer.addresses) last = std::max(last, address.expires);
    return last;
  }

  Address* find(const PeerId& peer, const Multiaddr& address) {
    const auto known = peers_.find(peer);
    if (known == peers_.end()) return nullptr;
    const Multiaddr bare = address.without_peer();
    for (auto& candidate : known->second.addresses) {
      if (candidate.multiaddr == bare) return &candidate;
    }
    return nullptr;
  }

  Address* add(Peer& peer, const Multiaddr& address, SteadyTime now, SteadyTime expires) {
    for (auto& known : peer.addresses) {
      if (known.multiaddr != address) continue;
      known.expires = std::max(known.expires, expires);
      return &known;
    }
    remove_where(peer.addresses, [&](const Address& known) { return !remembered(peer, known, now); });
    if (peer.addresses.size() >= limits_.addresses) {  // what is forgotten first gives way, if it is no longer-lived
      const auto soonest = std::min_element(peer.addresses.begin(), peer.addresses.end(), [](auto& a, auto& b) {
        return a.told_by_itself != b.told_by_itself ? b.told_by_itself : a.expires < b.expires;
      });
      if (soonest->told_by_itself || soonest->expires > expires) return nullptr;
      peer.addresses.erase(soonest);
    }
    return &peer.addresses.emplace_back(Address{.multiaddr = address, .expires = expires});
  }

  Peer* find_or_insert(const PeerId& peer, SteadyTime now, SteadyTime expires) {
    if (const auto known = peers_.find(peer); known != peers_.end()) return &known->second;
    if (!make_room(now, expires)) return nullptr;
    return &peers_[peer];
  }

  /// Forgets peers until one more fits, but none that lives longer than the newcomer would.
  /// @param newcomer  none: the book may stay full
  bool make_room(SteadyTime now, std::optional<SteadyTime> newcomer) {
    const std::size_t wanted = newcomer ? 1 : 0;
    if (peers_.size() + wanted <= limits_.peers) return true;
    std::erase_if(
        peers_, [&](const auto& entry) { return entry.second.connections == 0 && forgotten_at(entry.second) <= now; });
    std::size_t idle = 0;
    auto soonest = peers_.end();
    for (auto entry = peers_.begin(); entry != peers_.end(); ++entry) {
      if (entry->second.connections > 0) continue;
      ++idle;
      if (soonest == peers_.end() || std::pair(forgotten_at(entry->second), entry->first) <
                                         std::pair(forgotten_at(soonest->second), soonest->first)) {
        soonest = entry;
      }
    }
    if (idle + wanted <= limits_.peers) return true;
    if (newcomer && forgotten_at(soonest->second) > *newcomer) return false;
    peers_.erase(soonest);
    return true;
  }

  PeerStoreLimits limits_;
  std::unordered_map<PeerId, Peer> peers_;
};

}  // namespace skep::inline v0::p2p
