// What a command does about its identity file before it joins a swarm: says when it makes one, refuses one in use.
#pragma once

#include <algorithm>
#include <exception>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "skep/async/awaitable.hpp"
#include "skep/cli/console.hpp"
#include "skep/core/error.hpp"
#include "skep/core/time.hpp"
#include "skep/dht/dht.hpp"
#include "skep/p2p/identity.hpp"
#include "skep/p2p/multiaddr.hpp"
#include "skep/p2p/peer_id.hpp"

namespace skep::inline v0::cli {

namespace detail {

[[nodiscard]] inline awaitable<bool> answers(dht::Node<> node, p2p::PeerId peer, Duration limit) {
  try {
    co_await node.network().ping(std::move(peer), {.timeout = limit});
    co_return true;
  } catch (const Error&) {
    co_return false;
  }
}

}  // namespace detail

/// Whether a peer with this id runs now, as far as the swarm knows; blocks for `limit` at most, and for the joining.
/// Initial peers that have the id themselves are left out. @throws Error when the others cannot be reached
[[nodiscard]] inline bool is_peer_id_taken(const p2p::PeerId& id, std::vector<std::string> initial_peers,
                                           Duration limit = 5s) {
  std::erase_if(initial_peers, [&](const std::string& text) {
    const auto address = p2p::Multiaddr::from_text(text);
    return address && address->peer_id() == id;
  });
  if (initial_peers.empty()) return false;
  dht::DHT visitor({.initial_peers = std::move(initial_peers), .client_mode = true});
  return visitor.run_coroutine([id, limit](dht::Node<> node) { return detail::answers(std::move(node), id, limit); });
}

/// Does what Hivemind does about --identity_path: a new file is announced, one that a peer of the swarm uses is
/// refused, since two peers with one id cannot be told apart.
inline void check_identity(const std::string& identity_path, const std::vector<std::string>& initial_peers) {
  if (identity_path.empty()) return;
  std::error_code ignored;
  if (!std::filesystem::exists(identity_path, ignored)) {
    return info("Generating new identity to be saved in `" + identity_path + "`");
  }
  if (initial_peers.empty()) return;
  info("Checking that identity from `" + identity_path + "` is not used by other peers");
  const auto id = p2p::Identity::load(identity_path).id();
  if (!is_peer_id_taken(id, initial_peers)) return;
  throw Error(errc::refused, "--identity_path: " + id.to_string() + ", the identity from `" + identity_path +
                                 "`, is already taken by another peer; give this one a file of its own");
}

}  // namespace skep::inline v0::cli
