// The command skep-dht: one node of a DHT, for others to join a swarm through.
#pragma once

#include <chrono>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "skep/cli/command.hpp"
#include "skep/cli/dht_flags.hpp"
#include "skep/cli/environment.hpp"
#include "skep/cli/identity_check.hpp"
#include "skep/cli/signals.hpp"
#include "skep/cli/visible_addresses.hpp"
#include "skep/crypto/random.hpp"
#include "skep/dht/dht.hpp"

namespace skep::inline v0::cli {

namespace detail {

[[nodiscard]] inline Duration seconds(double count) {
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(count));
}

/// How the node is doing, and a search for nothing that makes it notice peers which are gone; ends within `limit`.
[[nodiscard]] inline awaitable<void> report_status(dht::Node<> node, Duration limit) {
  info(std::to_string(node.peer_count() + 1) + " DHT nodes (including this one) are in the local routing table ");
  info("Local storage contains " + std::to_string(node.record_count()) + " keys");
  const auto noise = crypto::random_array<16>();
  (void)co_await node.get("heartbeat_" + to_hex(noise), {.latest = true, .timeout = limit});
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

/// `int main(int argc, char** argv) { return skep::cli::dht_main(argc, argv); }` is the whole command. Runs until
/// SIGINT or SIGTERM.
/// @return 0 after such an end, 1 when something failed, 2 when the flags cannot be carried out
[[nodiscard]] inline int dht_main(int argc, char** argv) {
  const auto parsed = parse_dht_flags({argv + 1, argv + argc});
  if (!parsed.flags) return parsed.finish();
  start_console();
  Signals signals;
  return run_command("skep-dht", [&] {
    for (const auto& note : notes(parsed.flags->network)) info(note);
    check_identity(parsed.flags->network.identity_path, parsed.flags->network.initial_peers);
    dht::DHT dht(dht_options(parsed.flags->network));
    signals.started();
    const auto addresses = visible_addresses(dht);
    info(invitation(addresses));
    info(full_list(addresses));
    info(reach(addresses));
    const Duration period = detail::seconds(parsed.flags->refresh_period);
    do {  // nobody waits for the report: a signal must not wait for a search either
      (void)dht.run_coroutine_future([period](dht::Node<> node) { return detail::report_status(node, period); });
    } while (!signals.wait_for(period));
    dht.shutdown();
    return exit_ok;
  });
}

}  // namespace skep::inline v0::cli
