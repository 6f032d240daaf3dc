// The command skep-server, and the whole main of a server with experts of one's own.
#pragma once

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "skep/cli/command.hpp"
#include "skep/cli/http_server.hpp"
#include "skep/cli/identity_check.hpp"
#include "skep/cli/joining.hpp"
#include "skep/cli/prometheus.hpp"
#include "skep/cli/server_flags.hpp"
#include "skep/cli/server_metrics.hpp"
#include "skep/cli/server_setup.hpp"
#include "skep/cli/signals.hpp"
#include "skep/cli/socket_address.hpp"
#include "skep/cli/visible_addresses.hpp"
#include "skep/core/error.hpp"
#include "skep/dht/dht.hpp"
#include "skep/moe/server/server.hpp"
#include "skep/moe/server/statistics.hpp"

namespace skep::inline v0::cli {

namespace detail {

/// Allows 32768 open files, or as many as the system lets us.
inline void increase_file_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = std::max(limit.rlim_cur, std::min<rlim_t>(32768, limit.rlim_max));
  ::setrlimit(RLIMIT_NOFILE, &limit);
  info("--increase_file_limit: this server may have " + std::to_string(limit.rlim_cur) + " files open");
}

/// Waits for the signal to shut down, and reports what was computed every interval, if there is one.
template <class Server>
void report_until_signal(const Server& server, Signals& signals, std::optional<double> interval) {
  if (!interval) {
    signals.wait();
    return;
  }
  auto before = server.statistics().pools;
  auto since = std::chrono::steady_clock::now();
  while (!signals.wait_for(seconds(*interval))) {
    auto after = server.statistics().pools;
    const auto now = std::chrono::steady_clock::now();
    for (const auto& line : moe::report_lines(before, after, now - since)) info(line);
    before = std::move(after);
    since = now;
  }
}

/// Shows the page behind --metrics for as long as what it returns lives, or nothing without that flag.
template <class Server>
[[nodiscard]] std::unique_ptr<HttpServer> serve_metrics(const dht::DHT& dht, const Server& server,
                                                        const std::string& address) {
  if (address.empty()) return nullptr;
  auto text = [&server, node = dht.node()] {  // on the DHT's thread
    const p2p::Host host = node.network();
    return metrics_page({.server = server.statistics(),
                         .dht_peers = node.peer_count(),
                         .dht_records = node.record_count(),
                         .connections = host.peers().size(),
                         .traffic = host.traffic()});
  };
  try {
    HttpPage page{"/metrics", std::string(prometheus_type), std::move(text)};
    auto metrics = std::make_unique<HttpServer>(dht, *socket_address(address), std::move(page));
    info("Serving metrics at " + metrics->url());
    return metrics;
  } catch (const Error& error) {
    throw Error(error.code(), std::string("--metrics: ") + error.what());
  }
}

}  // namespace detail

/// The whole main of a server with experts of the given classes, each described by `skep::moe::Expert<M>`:
///
///     int main(int argc, char** argv) { return skep::cli::server_main<skep::moe::Ffn, Gated>(argc, argv); }
///
/// Serves until SIGINT or SIGTERM. The first class is the default of --expert_cls.
/// @return 0 after such an end, 1 when something failed, 2 when the flags cannot be carried out
template <class... Experts>
[[nodiscard]] int server_main(int argc, char** argv) {
  using Server = moe::Server<Experts...>;
  const auto command = std::filesystem::path(argv[0]).filename().string();
  const auto parsed = parse_server_flags(command, Server::class_names(), {argv + 1, argv + argc});
  if (!parsed.flags) return parsed.finish();
  const ServerFlags& flags = *parsed.flags;
  start_console();
  Signals signals;
  return run_command(command, [&] {
    for (const auto& note : notes(flags)) info(note);
    if (flags.increase_file_limit) detail::increase_file_limit();
    const auto options = server_options(flags);
    moe::set_compute_threads(options.threads);

    check_identity(flags.network.identity_path, flags.network.initial_peers);
    dht::DHT dht(dht_options(flags.network));
    const auto addresses = visible_addresses(dht);
    info(running_node(addresses, flags.network.initial_peers));
    info(invitation(addresses));
    info(reach(addresses));
    Server server(dht, options);
    info("Computing with " + std::to_string(options.threads) + (options.threads == 1 ? " thread" : " threads"));
    server.start();
    auto metrics = detail::serve_metrics(dht, server, flags.metrics);
    signals.started();
    info("Started");
    detail::report_until_signal(server, signals, flags.stats_report_interval);
    server.shutdown();
    metrics.reset();
    dht.shutdown();
    return exit_ok;
  });
}

}  // namespace skep::inline v0::cli
