// Addresses as other programs write them, 127.0.0.1:9100, read into multiaddresses.
#pragma once

#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "skep/cli/checks.hpp"
#include "skep/p2p/multiaddr.hpp"

namespace skep::inline v0::cli {

/// `ADDRESS:PORT`, `[IPV6]:PORT`, a port alone, which is one of this machine's loopback, or a TCP multiaddress; nullopt
/// for what is none of these. ":9100" is on all interfaces.
[[nodiscard]] inline std::optional<p2p::Multiaddr> socket_address(std::string_view text) {
  if (text.starts_with('/')) {
    const auto address = p2p::Multiaddr::from_text(text);
    if (!address || !address->tcp() || address->tcp()->is_name()) return std::nullopt;
    return *address;
  }
  const auto colon = text.rfind(':');
  std::uint16_t port = 0;
  if (!detail::read_number(colon == std::string_view::npos ? text : text.substr(colon + 1), port)) return std::nullopt;
  std::string_view host = colon == std::string_view::npos ? "127.0.0.1" : text.substr(0, colon);
  const bool brackets = host.starts_with('[') && host.ends_with(']');
  if (brackets) host = host.substr(1, host.size() - 2);
  if (brackets != (host.find(':') != std::string_view::npos)) return std::nullopt;
  if (host.empty()) host = "0.0.0.0";
  if (host == "localhost") host = "127.0.0.1";
  const auto address = p2p::Multiaddr::from_tcp(host, port);
  return address ? std::optional(*address) : std::nullopt;
}

/// A value that `socket_address` reads.
[[nodiscard]] inline Check socket_address_check() {
  return [](const std::string& text) -> std::string {
    if (socket_address(text)) return {};
    return detail::in_quotes(text) + " is not an address to listen on, such as 127.0.0.1:9100";
  };
}

}  // namespace skep::inline v0::cli
