// How the flags of a command become a member of the DHT, and where it is to be reached then.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "skep/cli/network_flags.hpp"
#include "skep/core/time.hpp"
#include "skep/dht/composite_validator.hpp"
#include "skep/dht/dht.hpp"
#include "skep/dht/ed25519_validator.hpp"
#include "skep/dht/rsa_validator.hpp"
#include "skep/p2p/multiaddr.hpp"

namespace skep::inline v0::cli {

namespace detail {

[[nodiscard]] inline Duration seconds(double count) {
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(count));
}

}  // namespace detail

/// The options of a DHT that flags stand for.
[[nodiscard]] inline dht::DHTOptions dht_options(const NetworkFlags& flags) {
  return {.initial_peers = flags.initial_peers,
          .host_maddrs = flags.host_maddrs,
          .announce_maddrs = flags.announce_maddrs,
          .identity_path = flags.identity_path};
}

/// What skep-dht demands of records under an owner's tag, RSA as Hivemind's or Ed25519: his signature. It has no key
/// itself, and lets through whatever names no owner.
using OwnerChecks = dht::CompositeValidator<dht::RsaSignatureValidator, dht::Ed25519SignatureValidator>;
[[nodiscard]] inline OwnerChecks owner_checks() {
  return dht::compose_validators(dht::RsaSignatureValidator::checking_only(),
                                 dht::Ed25519SignatureValidator::checking_only());
}
/// The DHT of skep-dht and of its subcommands.
using CheckedDHT = dht::BasicDHT<OwnerChecks>;
using CheckedNode = dht::Node<p2p::Host, OwnerChecks>;

/// Where others reach this peer.
template <dht::RecordValidator V>
[[nodiscard]] std::vector<p2p::Multiaddr> visible_addresses(dht::BasicDHT<V>& dht) {
  std::vector<p2p::Multiaddr> addresses;
  for (const auto& text : dht.visible_maddrs()) addresses.push_back(p2p::Multiaddr::parse(text));
  return addresses;
}

}  // namespace skep::inline v0::cli
