// The lines with which a peer says how others join it.
#pragma once

#include <algorithm>
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

[[nodiscard]] inline std::string full_list(const std::vector<p2p::Multiaddr>& all) {
  return "Full list of visible multiaddresses: " + detail::join(all);
}

}  // namespace skep::inline v0::cli
