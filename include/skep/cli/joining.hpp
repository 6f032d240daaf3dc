// How the flags of a command become a member of the DHT, and where it is to be reached then.
#pragma once

#include <chrono>
#include <cstdlib>
#include <string>
#include <vector>

#include "skep/cli/environment.hpp"
#include "skep/cli/network_flags.hpp"
#include "skep/core/time.hpp"
#include "skep/dht/dht.hpp"
#include "skep/p2p/multiaddr.hpp"

namespace skep::inline v0::cli {

namespace detail {

[[nodiscard]] inline Duration seconds(double count) {
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(count));
}

}  // namespace detail

/// The options of a DHT that flags and the environment stand for.
[[nodiscard]] inline dht::DHTOptions dht_options(const NetworkFlags& flags) {
  return {.initial_peers = flags.initial_peers,
          .host_maddrs = flags.host_maddrs,
          .announce_maddrs = flags.announce_maddrs,
          .identity_path = flags.identity_path,
          .node = {.num_workers = dht_num_workers(std::getenv("SKEP_DHT_NUM_WORKERS"))}};
}

/// Where others reach this peer.
[[nodiscard]] inline std::vector<p2p::Multiaddr> visible_addresses(dht::DHT& dht) {
  std::vector<p2p::Multiaddr> addresses;
  for (const auto& text : dht.visible_maddrs()) addresses.push_back(p2p::Multiaddr::parse(text));
  return addresses;
}

}  // namespace skep::inline v0::cli
