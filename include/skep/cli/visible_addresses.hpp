// The lines with which a peer says how others join it.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>
#include <vector>

#include "skep/p2p/multiaddr.hpp"

namespace skep::inline v0::cli {

namespace detail {

/// Lower is better: what everyone can reach before what only neighbours can, IPv4 before IPv6.
[[nodiscard]] inline int reach_rank(const p2p::Multiaddr& address) {
  const auto tcp = address.tcp();
  const int reach = address.is_loopback() ? 2 : address.is_private() ? 1 : 0;
  return 2 * reach + (tcp && tcp->kind == p2p::MultiaddrCode::ip6 ? 1 : 0);
}

[[nodiscard]] inline std::string join(const std::vector<p2p::Multiaddr>& addresses) {
  std::string text;
  for (const auto& address : addresses) text += (text.empty() ? "" : " ") + address.to_string();
  return text;
}

}  // namespace detail

/// Those of a peer's addresses that share its most widely reachable host.
[[nodiscard]] inline std::vector<p2p::Multiaddr> preferred_addresses(const std::vector<p2p::Multiaddr>& all) {
  const auto best = std::min_element(all.begin(), all.end(), [](const auto& a, const auto& b) {
    return detail::reach_rank(a) < detail::reach_rank(b);
  });
  if (best == all.end()) return {};
  const auto wanted = best->tcp();
  std::vector<p2p::Multiaddr> chosen;
  for (const auto& address : all) {
    const auto tcp = address.tcp();
    if (tcp.has_value() == wanted.has_value() && (!tcp || tcp->host == wanted->host)) chosen.push_back(address);
  }
  return chosen;
}

/// The line to copy from; what follows "use " is a flag as it stands.
[[nodiscard]] inline std::string invitation(const std::vector<p2p::Multiaddr>& all) {
  return "Running a DHT instance. To connect other peers to this one, use --initial_peers " +
         detail::join(preferred_addresses(all));
}

/// From where each address can be reached, and from where none can: "Reachable from the local network at
/// 10.0.0.2:31337, from this machine at 127.0.0.1:31337, not from the internet".
[[nodiscard]] inline std::string reach(const std::vector<p2p::Multiaddr>& all) {
  constexpr std::array<const char*, 3> places = {"the internet", "the local network", "this machine"};
  std::array<std::string, 3> hosts;
  for (const auto& address : all) {
    const auto tcp = address.tcp();
    if (!tcp) continue;
    std::string& there = hosts[static_cast<std::size_t>(detail::reach_rank(address)) / 2];
    there += there.empty() ? " at " : ", ";
    there += tcp->kind == p2p::MultiaddrCode::ip6 ? '[' + tcp->host + ']' : tcp->host;
    there += ':' + std::to_string(tcp->port);
  }
  std::string sentence;
  for (std::size_t i = 0; i < hosts.size(); ++i) {
    if (hosts[i].empty()) continue;
    sentence += (sentence.empty() ? "Reachable from " : ", from ") + (places[i] + hosts[i]);
  }
  if (sentence.empty() || !hosts[0].empty()) return sentence;
  return sentence + (hosts[1].empty() ? ", from nowhere else" : ", not from the internet");
}

/// What a server says first, as Hivemind's does: "Running DHT node on ['/ip4/...'], initial peers = []".
[[nodiscard]] inline std::string running_node(const std::vector<p2p::Multiaddr>& all,
                                              const std::vector<std::string>& initial_peers) {
  const auto listed = [](const std::vector<std::string>& texts) {
    std::string list = "[";
    for (const auto& text : texts) list += (list.size() == 1 ? "'" : ", '") + text + "'";
    return list + "]";
  };
  std::vector<std::string> own;
  for (const auto& address : all) own.push_back(address.to_string());
  return "Running DHT node on " + listed(own) + ", initial peers = " + listed(initial_peers);
}

[[nodiscard]] inline std::string full_list(const std::vector<p2p::Multiaddr>& all) {
  return "Full list of visible multiaddresses: " + detail::join(all);
}

}  // namespace skep::inline v0::cli
