// The command skep-dht: one node of a DHT, for others to join a swarm through; its subcommands look at a swarm.
#pragma once

#include <algorithm>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "skep/cli/command.hpp"
#include "skep/cli/dht_flags.hpp"
#include "skep/cli/dht_look.hpp"
#include "skep/cli/identity_check.hpp"
#include "skep/cli/joining.hpp"
#include "skep/cli/json_log.hpp"
#include "skep/cli/signals.hpp"
#include "skep/cli/visible_addresses.hpp"
#include "skep/crypto/random.hpp"
#include "skep/dht/dht.hpp"

namespace skep::inline v0::cli {

namespace detail {

/// How the node is doing, and a search for nothing that makes it notice peers which are gone; ends within `limit`.
[[nodiscard]] inline awaitable<void> report_status(CheckedNode node, Duration limit) {
  info(std::to_string(node.peer_count() + 1) + " DHT nodes (including this one) are in the local routing table ");
  info("Local storage contains " + std::to_string(node.record_count()) + " keys");
  const auto noise = crypto::random_array<16>();
  (void)co_await node.get("heartbeat_" + to_hex(noise), {.latest = true, .timeout = limit});
}

/// Runs a node until SIGINT or SIGTERM.
[[nodiscard]] inline int run_node(std::vector<std::string> arguments) {
  const auto parsed = parse_dht_flags(std::move(arguments));
  if (!parsed.flags) return parsed.finish();
  parsed.flags->json ? start_json_log() : start_console();
  Signals signals;
  return run_command("skep-dht", [&] {
    for (const auto& note : notes(parsed.flags->network)) info(note);
    check_identity(parsed.flags->network.identity_path, parsed.flags->network.initial_peers);
    CheckedDHT dht(dht_options(parsed.flags->network), owner_checks());
    signals.started();
    const auto addresses = visible_addresses(dht);
    info(invitation(addresses));
    info(full_list(addresses));
    info(reach(addresses));
    const Duration period = seconds(parsed.flags->refresh_period);
    do {  // nobody waits for the report: a signal must not wait for a search either
      (void)dht.run_coroutine_future([period](CheckedNode node) { return report_status(node, period); });
    } while (!signals.wait_for(period));
    dht.shutdown();
    return exit_ok;
  });
}

/// Parses the flags of a subcommand and runs it.
template <class Flags>
[[nodiscard]] int run_subcommand(const Parsed<Flags>& parsed, int (*run)(const Flags&)) {
  return parsed.flags ? run(*parsed.flags) : parsed.finish();
}

}  // namespace detail

/// `int main(int argc, char** argv) { return skep::cli::dht_main(argc, argv); }` is the whole command: a node, or with
/// a subcommand a look at a swarm.
/// @return 0 when all went well, 1 when something failed, 2 when the flags cannot be carried out
[[nodiscard]] inline int dht_main(int argc, char** argv) {
  std::vector<std::string> arguments(argv + std::min(argc, 1), argv + argc);
  if (arguments.empty() || arguments.front().starts_with('-')) return detail::run_node(std::move(arguments));
  const std::string name = arguments.front();
  arguments.erase(arguments.begin());
  if (name == "get") return detail::run_subcommand(parse_dht_get_flags(std::move(arguments)), dht_get);
  if (name == "store") return detail::run_subcommand(parse_dht_store_flags(std::move(arguments)), dht_store);
  if (name == "ping") return detail::run_subcommand(parse_dht_ping_flags(std::move(arguments)), dht_ping);
  if (name == "crawl") return detail::run_subcommand(parse_dht_crawl_flags(std::move(arguments)), dht_crawl);
  std::fprintf(stderr, "skep-dht: there is no command %s, only get, store, ping and crawl; see skep-dht --help\n",
               detail::in_quotes(printable(name)).c_str());
  return exit_usage;
}

}  // namespace skep::inline v0::cli
