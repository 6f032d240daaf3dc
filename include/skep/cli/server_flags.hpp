// The flags of skep-server, with the names and defaults of hivemind-server.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "skep/cli/checks.hpp"
#include "skep/cli/command_line.hpp"
#include "skep/cli/network_flags.hpp"
#include "skep/cli/sample_shape.hpp"
#include "skep/cli/server_flags_check.hpp"
#include "skep/cli/socket_address.hpp"

namespace skep::inline v0::cli {

namespace detail {

[[nodiscard]] inline std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (const auto& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

inline void declare_experts(CommandLine& line, ServerFlags& flags, const std::vector<std::string>& classes) {
  constexpr auto group = "Experts";
  line.value(group, "--num_experts", "N", flags.num_experts, whole_number(1), "how many experts to serve");
  line.value(group, "--expert_pattern", "P", flags.expert_pattern, check_pattern,
             "uids to choose free ones from: ffn.[0:32].[0:32] are all from ffn.0.0 to ffn.31.31; by default expert.0, "
             "expert.1 and so on");
  line.list(group, "--expert_uids", "UID", flags.expert_uids, check_uid,
            "exactly these uids, instead of --num_experts and --expert_pattern");
  line.value(group, "--expert_cls", "NAME", flags.expert_cls, one_of(classes),
             "class of the experts, one of " + listed(classes));
  line.value(group, "--hidden_dim", "N", flags.hidden_dim, whole_number(1), "their main width");
  line.list(group, "--expert_options", "NAME=VALUE", flags.expert_options, check_option,
            "what the class takes besides its width");
  line.value(group, "--torchscript", "FILE", flags.torchscript, readable_file(),
             "serve this TorchScript module, made in Python by torch.jit.save, instead of a class");
  line.list(group, "--torchscript_inputs", "SHAPE", flags.torchscript_inputs, sample_shape_check(dtype_names()),
            "one sample of each of its inputs, such as 512, 128x64 or 128:bool; by default one of hidden_dim numbers");
  line.value(group, "--checkpoint_dir", "DIR", flags.checkpoint_dir, existing_folder(),
             "folder to keep the experts in and to go on from");
  line.value(group, "--custom_module_path", "FILE", flags.custom_module_path, {},
             "not supported: see --torchscript, or link experts in with server_main");
}

inline void declare_compute(CommandLine& line, ServerFlags& flags) {
  constexpr auto group = "Compute";
  line.value(group, "--min_batch_size", "N", flags.min_batch_size, whole_number(1),
             "samples to wait a moment for before a batch runs");
  line.value(group, "--max_batch_size", "N", flags.max_batch_size, whole_number(1), "most samples in one batch");
  line.value(group, "--threads", "N", flags.threads, whole_number(1),
             "threads to compute with; by default the cores divided by the servers running here");
  line.value(group, "--device", "NAME", flags.device, check_device,
             "where experts live and compute: cpu, cuda, cuda:1; by default cuda where there is one, else cpu");
  line.value(group, "--num_handlers", "N", flags.num_handlers, whole_number(1),
             "accepted for Hivemind's sake: one thread handles all connections");
  line.toggle(group, "--increase_file_limit", flags.increase_file_limit, "allow 32768 open files");
}

inline void declare_training(CommandLine& line, ServerFlags& flags) {
  constexpr auto group = "Training";
  line.value(group, "--optimizer", "NAME", flags.optimizer, one_of(optimizer_names()),
             "one of " + listed(optimizer_names()) + "; one step for each batch of gradients, or no training");
  line.value(group, "--learning_rate", "X", flags.learning_rate, positive_number(),
             "by default 0.01 for sgd, 0.001 for the others");
  line.value(group, "--scheduler", "NAME", flags.scheduler, one_of({"none", "linear"}),
             "how the learning rate changes: none, or linear: up from 0, then down to 0");
  line.value(group, "--num_warmup_steps", "N", flags.num_warmup_steps, whole_number(0),
             "linear: steps until the learning rate is reached");
  line.value(group, "--num_training_steps", "N", flags.num_training_steps, whole_number(1),
             "linear: steps until it is 0");
  line.value(group, "--clip_grad_norm", "X", flags.clip_grad_norm, positive_number(),
             "longest gradient of an expert; longer ones are shortened to it");
  line.value(group, "--accumulate_samples", "N", flags.accumulate_samples, whole_number(1),
             "samples whose gradients are put together for one step; by default those of one batch");
}

inline void declare_swarm(CommandLine& line, ServerFlags& flags) {
  constexpr auto group = "Swarm";
  line.value(group, "--update_period", "S", flags.update_period, positive_number(),
             "seconds between two declarations of the experts in the DHT, and between two checkpoints");
  line.value(group, "--expiration", "S", flags.expiration, positive_number(),
             "seconds a declaration lives; by default 2 x update_period, at least 3");
  line.value(group, "--compression", "NAME", flags.compression, one_of(compression_names()),
             "how tensors travel: " + listed(compression_names()));
}

inline void declare_reports(CommandLine& line, ServerFlags& flags) {
  constexpr auto group = "Reports";
  line.value(group, "--stats_report_interval", "S", flags.stats_report_interval, positive_number(),
             "seconds between two reports of batches processed; by default none");
  line.value(group, "--metrics", "ADDR", flags.metrics, socket_address_check(),
             "serve metrics for Prometheus at http://ADDR/metrics, such as 127.0.0.1:9100");
}

}  // namespace detail

/// Reads the flags of a server that offers the given expert classes.
/// @param command  the program's name, for messages and the help
[[nodiscard]] inline Parsed<ServerFlags> parse_server_flags(const std::string& command,
                                                            const std::vector<std::string>& expert_classes,
                                                            std::vector<std::string> arguments) {
  ServerFlags flags;
  if (!expert_classes.empty()) flags.expert_cls = expert_classes.front();
  CommandLine line(command, "Serves experts: neural network layers that others call and train over the network.",
                   "  " + command + " --num_experts 5 --expert_pattern \"expert.[0:5]\" --hidden_dim 512\n  " +
                       command +
                       " --num_experts 5 --expert_pattern \"expert.[5:250]\" --hidden_dim 512 \\\n"
                       "      --initial_peers /ip4/203.0.113.5/tcp/31337/p2p/12D3KooW...",
                   "config.yml");
  detail::declare_experts(line, flags, expert_classes);
  declare(line, flags.network);
  detail::declare_compute(line, flags);
  detail::declare_training(line, flags);
  detail::declare_swarm(line, flags);
  detail::declare_reports(line, flags);
  return line.parse<ServerFlags>(std::move(arguments), flags, [&] {
    flags.class_given = line.given("--expert_cls");
    detail::check_together(flags);
  });
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
