// DHTOptions: how a DHT listens, joins and ends.
#pragma once

#include <charconv>
#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "skep/core/error.hpp"
#include "skep/core/time.hpp"
#include "skep/dht/options.hpp"
#include "skep/p2p/host_options.hpp"

namespace skep::inline v0::dht {

struct DHTOptions {
  /// Multiaddresses of nodes to join, each with its /p2p at the end; empty: a new swarm.
  std::vector<std::string> initial_peers{};
  /// Where to listen; port 0 lets the kernel choose.
  std::vector<std::string> host_maddrs{"/ip4/0.0.0.0/tcp/0"};
  /// What others are told instead.
  std::vector<std::string> announce_maddrs{};
  /// A key file that keeps the peer id over restarts; made when it does not exist.
  std::filesystem::path identity_path{};
  /// Listens nowhere, serves nobody, holds no records of others.
  bool client_mode = false;
  /// Join at once; otherwise `start()` does.
  bool start = true;
  /// Starting waits until the swarm is joined; otherwise `wait_until_ready()` does.
  bool await_ready = true;
  /// For what runs at shutdown; after that it is dropped.
  Duration shutdown_timeout = 3s;
  /// Everything else; its `initial_peers` and `client_mode` follow from the above. Where its `num_workers` is the
  /// default the environment variable SKEP_DHT_NUM_WORKERS has a say.
  NodeOptions node{};
  /// Limits of the connections beneath.
  p2p::HostLimits limits{};
};

namespace detail {

/// The requests in flight for one key: what was chosen, or else what the environment says.
[[nodiscard]] inline std::size_t workers_by_environment(std::size_t chosen, const char* text) {
  if (chosen != NodeOptions{}.num_workers || text == nullptr || *text == 0) return chosen;
  const std::string_view digits(text);
  std::size_t number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error != std::errc() || end != digits.data() + digits.size() || number == 0 || number > 1024) {
    throw Error(errc::invalid_argument,
                "SKEP_DHT_NUM_WORKERS is \"" + printable(text) + "\", which is no number from 1 to 1024");
  }
  return number;
}

}  // namespace detail

}  // namespace skep::inline v0::dht
