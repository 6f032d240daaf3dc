// The flags about peers and addresses, which all commands share.
#pragma once

#include <string>
#include <vector>

#include "skep/cli/checks.hpp"
#include "skep/cli/command_line.hpp"
#include "skep/p2p/multiaddr.hpp"

namespace skep::inline v0::cli {

/// Whom to join, where to listen, who to be.
struct NetworkFlags {
  std::vector<std::string> initial_peers;
  std::vector<std::string> host_maddrs = {"/ip4/0.0.0.0/tcp/0"};
  std::vector<std::string> announce_maddrs;
  std::string identity_path;  ///< empty: a new identity
  bool no_relay = false;
  bool use_auto_relay = false;
};

namespace detail {

/// A multiaddress; what else it must be is up to `also`, which completes the sentence `"..." ...`.
[[nodiscard]] inline Check multiaddress(std::string (*also)(const p2p::Multiaddr&)) {
  return [also](const std::string& text) -> std::string {
    std::string reason;
    const auto address = p2p::Multiaddr::from_text(text, &reason);
    if (!address) return in_quotes(text) + " is not a multiaddress: " + reason;
    const auto missing = also(*address);
    return missing.empty() ? std::string() : in_quotes(text) + " " + missing;
  };
}

[[nodiscard]] inline std::string names_a_peer(const p2p::Multiaddr& address) {
  if (address.peer_id()) return {};
  return "names no peer: it has to end in /p2p/ and the id of the peer, as that peer prints it when it starts";
}

[[nodiscard]] inline std::string is_plain_tcp(const p2p::Multiaddr& address) {
  if (address.tcp()) return {};
  return "is no TCP address: write it as /ip4/0.0.0.0/tcp/31337";
}

[[nodiscard]] inline std::string can_be_dialled(const p2p::Multiaddr& address) {
  if (const auto plain = is_plain_tcp(address); !plain.empty()) return plain;
  if (address.tcp()->port == 0) return "has no port: others need to know which one";
  if (address.is_unspecified()) return "is no place to go to: others need an address of this machine or its router";
  return {};
}

}  // namespace detail

inline void declare(CommandLine& line, NetworkFlags& flags) {
  line.list("Network", "--initial_peers", "MADDR", flags.initial_peers, detail::multiaddress(detail::names_a_peer),
            "peers of the swarm to join; none begins a new swarm");
  line.list("Network", "--host_maddrs", "MADDR", flags.host_maddrs, detail::multiaddress(detail::is_plain_tcp),
            "addresses to listen on; tcp/0 takes a free port");
  line.list("Network", "--announce_maddrs", "MADDR", flags.announce_maddrs,
            detail::multiaddress(detail::can_be_dialled),
            "addresses to tell others instead of those found, such as a router's that forwards here");
  line.value("Network", "--identity_path", "FILE", flags.identity_path, {},
             "private key of this peer; made when the file does not exist");
  line.toggle("Network", "--no_relay", flags.no_relay, "accepted for Hivemind's sake: relays are never used");
  line.toggle("Network", "--use_auto_relay", flags.use_auto_relay,
              "accepted for Hivemind's sake: no relay is looked for");
}

/// Lines for whoever gave flags that mean nothing here.
[[nodiscard]] inline std::vector<std::string> notes(const NetworkFlags& flags) {
  if (!flags.use_auto_relay) return {};
  return {"--use_auto_relay: this program does not use relays; others must be able to reach its addresses"};
}

}  // namespace skep::inline v0::cli
