// Listening sockets from multiaddresses, and the addresses under which they are reached.
#pragma once

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <asio/error.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/ip/v6_only.hpp>
#include <cstdint>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include "skep/async/awaitable.hpp"
#include "skep/core/error.hpp"
#include "skep/core/handle.hpp"
#include "skep/core/new_shared.hpp"
#include "skep/p2p/multiaddr.hpp"

namespace skep::inline v0::p2p {

/// A listener on `/ip4/<address>/tcp/<port>` or `/ip6/...`; port 0 lets the kernel choose.
/// @throws Error that says which address and why, and what to do
[[nodiscard]] inline std::shared_ptr<asio::ip::tcp::acceptor> listen_on(Executor executor, const Multiaddr& address) {
  const auto endpoint = address.tcp();
  if (!endpoint || endpoint->is_name()) {
    throw Error(skep::errc::invalid_argument, "cannot listen on " + address.to_string() +
                                                  ": give it as /ip4/ADDRESS/tcp/PORT or /ip6/ADDRESS/tcp/PORT");
  }
  auto acceptor = new_shared<asio::ip::tcp::acceptor>(std::move(executor));
  try {
    const asio::ip::tcp::endpoint where(asio::ip::make_address(endpoint->host), endpoint->port);
    acceptor->open(where.protocol());
    acceptor->set_option(asio::ip::tcp::acceptor::reuse_address(true));
    if (where.address().is_v6()) acceptor->set_option(asio::ip::v6_only(true));
    acceptor->bind(where);
    acceptor->listen();
  } catch (const std::system_error& error) {
    const bool in_use = error.code() == asio::error::address_in_use;
    throw Error(error.code(),
                "cannot listen on " + address.to_string() + ": " +
                    (in_use ? "the port is in use; choose another, or 0 for any free one" : error.code().message()));
  }
  return acceptor;
}

/// Appends the address of a listening socket; for 0.0.0.0 and :: those of the interfaces that are up.
inline void append_reachable(std::vector<Multiaddr>& to, const asio::ip::tcp::endpoint& local) {
  const auto add = [&](const std::string& ip) {
    const auto address = Multiaddr::from_tcp(ip, local.port());
    if (address && std::find(to.begin(), to.end(), *address) == to.end()) to.push_back(*address);
  };
  if (!local.address().is_unspecified()) return add(local.address().to_string());
  ifaddrs* first = nullptr;
  if (getifaddrs(&first) != 0) return;
  const Handle<ifaddrs, freeifaddrs> list(first);
  for (const ifaddrs* one = first; one != nullptr; one = one->ifa_next) {
    if (one->ifa_addr == nullptr || (one->ifa_flags & IFF_UP) == 0) continue;
    std::array<char, INET6_ADDRSTRLEN> text{};
    if (one->ifa_addr->sa_family == AF_INET && local.address().is_v4()) {
      inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(one->ifa_addr)->sin_addr, text.data(), text.size());
    } else if (one->ifa_addr->sa_family == AF_INET6 && local.address().is_v6()) {
      const auto& ip = reinterpret_cast<const sockaddr_in6*>(one->ifa_addr)->sin6_addr;
      if (IN6_IS_ADDR_LINKLOCAL(&ip)) continue;  // means nothing without a zone
      inet_ntop(AF_INET6, &ip, text.data(), text.size());
    } else {
      continue;
    }
    add(text.data());
  }
}

}  // namespace skep::inline v0::p2p
