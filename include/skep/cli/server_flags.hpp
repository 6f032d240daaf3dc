// The flags of skep-server, with the names and defaults of hivemind-server.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "skep/cli/command_line.hpp"
#include "skep/cli/network_flags.hpp"
#include "skep/moe/server/uid_pattern.hpp"
#include "skep/moe/uid.hpp"

namespace skep::inline v0::cli {

struct ServerFlags {
  std::optional<std::int64_t> num_experts;
  std::string expert_pattern;            ///< empty: expert.0, expert.1 and so on
  std::vector<std::string> expert_uids;  ///< instead of the two above
  std::string expert_cls = "ffn";
  std::int64_t hidden_dim = 1024;
  NetworkFlags network;
  std::int64_t min_batch_size = 1;
  std::int64_t max_batch_size = 16384;
  std::optional<std::int64_t> num_handlers;
  std::optional<std::int64_t> threads;
  std::string device = "cpu";
  std::string optimizer = "adam";
  std::optional<double> learning_rate;  ///< 0.001 for adam, 0.01 for sgd when not given
  double update_period = 30;            ///< seconds
  std::optional<double> expiration;     ///< seconds; max(2 x update_period, 3) when not given
  std::string compression = "NONE";
  std::optional<double> stats_report_interval;  ///< seconds
  bool increase_file_limit = false;
  std::string custom_module_path;
};

namespace detail {

[[nodiscard]] inline std::string check_uid(const std::string& text) {
  if (moe::is_valid_uid(text)) return {};
  return in_quotes(text) + " is not an expert uid: a name without dots, then numbers, such as ffn.0 or ffn.3.14";
}

[[nodiscard]] inline std::string check_pattern(const std::string& text) {
  try {
    (void)moe::UidPattern(text);
    return {};
  } catch (const Error& error) {
    return std::string(error.what()).substr(std::string_view("skep: ").size());
  }
}

/// What the flags of a server must fulfil together.
inline void check_together(const ServerFlags& flags) {
  if (!flags.expert_uids.empty() && (flags.num_experts || !flags.expert_pattern.empty())) {
    throw UsageError{"--expert_uids: it names the experts already; leave out --num_experts and --expert_pattern"};
  }
  if (flags.expert_uids.empty() && !flags.num_experts) {
    throw UsageError{
        "--num_experts: say which experts to serve: --num_experts N, with --expert_pattern \"ffn.[0:4].[0:4]\" "
        "or without, or --expert_uids ffn.0 ffn.1"};
  }
  if (!flags.expert_pattern.empty()) {
    const auto places = moe::UidPattern(flags.expert_pattern).count();
    if (static_cast<std::uint64_t>(*flags.num_experts) > places) {
      throw UsageError{"--num_experts: " + std::to_string(*flags.num_experts) +
                       " experts do not fit into the pattern " + in_quotes(flags.expert_pattern) + ", which has " +
                       std::to_string(places) + " uids"};
    }
  }
  if (flags.min_batch_size > flags.max_batch_size) {
    throw UsageError{"--min_batch_size: " + std::to_string(flags.min_batch_size) +
                     " is more than --max_batch_size, which is " + std::to_string(flags.max_batch_size)};
  }
  if (flags.optimizer == "none" && flags.learning_rate) {
    throw UsageError{"--optimizer: with none the experts do not learn; leave out --learning_rate"};
  }
  if (flags.expiration && *flags.expiration <= flags.update_period) {
    throw UsageError{
        "--expiration: experts would expire before they are declared again; give more than --update_period"};
  }
  if (!flags.custom_module_path.empty()) {
    throw UsageError{
        "--custom_module_path: Python modules cannot be loaded here; write a C++ module and a main that "
        "returns skep::cli::server_main<YourExpert>(argc, argv)"};
  }
}

}  // namespace detail

/// Reads the flags of a server that offers the given expert classes.
/// @param command  the program's name, for messages and the help
[[nodiscard]] inline Parsed<ServerFlags> parse_server_flags(const std::string& command,
                                                            const std::vector<std::string>& expert_classes,
                                                            std::vector<std::string> arguments) {
  ServerFlags flags;
  if (!expert_classes.empty()) flags.expert_cls = expert_classes.front();
  CommandLine line(command, "Serves experts: neural network layers that others call and train over the network.");

  line.value("Experts", "--num_experts", "N", flags.num_experts, whole_number(1), "how many experts to serve");
  line.value("Experts", "--expert_pattern", "P", flags.expert_pattern, detail::check_pattern,
             "uids to choose free ones from: ffn.[0:32].[0:32] are all from ffn.0.0 to ffn.31.31");
  line.list("Experts", "--expert_uids", "UID", flags.expert_uids, detail::check_uid,
            "exactly these uids, instead of --num_experts and --expert_pattern");
  line.value(
      "Experts", "--expert_cls", "NAME", flags.expert_cls, one_of(expert_classes),
      "class of the experts, one of " + [&] {
        std::string names;
        for (const auto& name : expert_classes) names += (names.empty() ? "" : ", ") + name;
        return names;
      }());
  line.value("Experts", "--hidden_dim", "N", flags.hidden_dim, whole_number(1), "their main width");
  line.value("Experts", "--custom_module_path", "FILE", flags.custom_module_path, {},
             "not supported: own experts are linked in with server_main");

  declare(line, flags.network);

  line.value("Compute", "--min_batch_size", "N", flags.min_batch_size, whole_number(1),
             "samples to wait for before a batch runs");
  line.value("Compute", "--max_batch_size", "N", flags.max_batch_size, whole_number(1), "most samples in one batch");
  line.value("Compute", "--threads", "N", flags.threads, whole_number(1),
             "threads to compute with; by default the cores divided by the servers running here");
  line.value("Compute", "--device", "NAME", flags.device, one_of({"cpu"}),
             "where experts live and compute; only cpu here");
  line.value("Compute", "--num_handlers", "N", flags.num_handlers, whole_number(1),
             "accepted for Hivemind's sake: one thread handles all connections");

  line.value("Training", "--optimizer", "NAME", flags.optimizer, one_of({"adam", "sgd", "none"}),
             "adam, sgd or none: one step for each batch of gradients, or no training");
  line.value("Training", "--learning_rate", "X", flags.learning_rate, positive_number(),
             "by default 0.001 for adam, 0.01 for sgd");

  line.value("Swarm", "--update_period", "S", flags.update_period, positive_number(),
             "seconds between two declarations of the experts in the DHT");
  line.value("Swarm", "--expiration", "S", flags.expiration, positive_number(),
             "seconds a declaration lives; by default 2 x update_period, at least 3");
  line.value("Swarm", "--compression", "NAME", flags.compression, one_of({"NONE", "FLOAT16"}),
             "how tensors travel: NONE or FLOAT16");

  line.value("Reports", "--stats_report_interval", "S", flags.stats_report_interval, positive_number(),
             "seconds between two reports of batches processed; by default none");
  line.toggle("Compute", "--increase_file_limit", flags.increase_file_limit, "allow 32768 open files");

  return line.parse<ServerFlags>(std::move(arguments), flags, [&flags] { detail::check_together(flags); });
}

/// Lines for whoever gave flags that mean something else here than in Hivemind.
[[nodiscard]] inline std::vector<std::string> notes(const ServerFlags& flags) {
  auto lines = notes(flags.network);
  if (flags.num_handlers) {
    lines.emplace_back("--num_handlers: one thread handles all connections, whatever the number; see --threads");
  }
  return lines;
}

}  // namespace skep::inline v0::cli
