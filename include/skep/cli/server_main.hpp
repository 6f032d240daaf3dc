// The command skep-server, and the whole main of a server with experts of one's own.
#pragma once

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "skep/cli/command.hpp"
#include "skep/cli/dht_main.hpp"
#include "skep/cli/processes.hpp"
#include "skep/cli/server_flags.hpp"
#include "skep/cli/signals.hpp"
#include "skep/moe/server/server.hpp"

namespace skep::inline v0::cli {

namespace detail {

[[nodiscard]] inline moe::OptimizerFactory optimizer(const ServerFlags& flags) {
  if (flags.learning_rate && flags.optimizer == "adam") return moe::adam(*flags.learning_rate);
  if (flags.learning_rate && flags.optimizer == "sgd") return moe::sgd(*flags.learning_rate);
  return moe::optimizer_of_name(flags.optimizer);
}

[[nodiscard]] inline int compute_threads(const ServerFlags& flags) {
  if (flags.threads) return static_cast<int>(*flags.threads);
  return static_cast<int>(fair_share(std::thread::hardware_concurrency(), processes_of_this_program()));
}

[[nodiscard]] inline moe::ServerOptions server_options(const ServerFlags& flags) {
  moe::ExpertGroup group{.expert_cls = flags.expert_cls,
                         .expert_uids = flags.expert_uids,
                         .num_experts = static_cast<std::size_t>(flags.num_experts.value_or(0)),
                         .expert_pattern = flags.expert_pattern,
                         .expert = {.hidden_dim = flags.hidden_dim}};
  moe::ServerOptions options{.experts = {std::move(group)},
                             .optimizer = optimizer(flags),
                             .min_batch_size = static_cast<std::size_t>(flags.min_batch_size),
                             .max_batch_size = static_cast<std::size_t>(flags.max_batch_size),
                             .threads = compute_threads(flags),
                             .update_period = seconds(flags.update_period)};
  if (flags.compression == "FLOAT16") options.compression = moe::Compression::float16;
  if (flags.expiration) options.expiration = seconds(*flags.expiration);
  return options;
}

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
    const auto options = detail::server_options(flags);
    moe::set_compute_threads(options.threads);

    dht::DHT dht(dht_options(flags.network));
    log_visible_addresses(dht);
    Server server(dht, options);
    server.start();
    signals.started();
    info("Started, computing with " + std::to_string(options.threads) +
         (options.threads == 1 ? " thread" : " threads"));
    detail::report_until_signal(server, signals, flags.stats_report_interval);
    server.shutdown();
    dht.shutdown();
    return exit_ok;
  });
}

}  // namespace skep::inline v0::cli
