// ServerFlags: what the flags of skep-server come to, and what they must fulfil alone and together.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "skep/cli/checks.hpp"
#include "skep/cli/command_line.hpp"
#include "skep/cli/network_flags.hpp"
#include "skep/core/error.hpp"
#include "skep/moe/server/uid_pattern.hpp"
#include "skep/moe/uid.hpp"

namespace skep::inline v0::cli {

struct ServerFlags {
  std::optional<std::int64_t> num_experts;
  std::string expert_pattern;            ///< empty: expert.0, expert.1 and so on
  std::vector<std::string> expert_uids;  ///< instead of the two above
  std::string expert_cls = "ffn";
  bool class_given = false;
  std::int64_t hidden_dim = 1024;
  std::vector<std::string> expert_options;      ///< "name=value"
  std::string torchscript;                      ///< a file, instead of expert_cls
  std::vector<std::string> torchscript_inputs;  ///< as `sample_shape` reads them
  std::string checkpoint_dir;
  std::string custom_module_path;
  NetworkFlags network;
  std::int64_t min_batch_size = 1;
  std::int64_t max_batch_size = 16384;
  std::optional<std::int64_t> num_handlers;
  std::optional<std::int64_t> threads;
  std::string device;  ///< empty: cuda where there is one, else cpu
  bool increase_file_limit = false;
  std::string optimizer = "adam";
  std::optional<double> learning_rate;  ///< of the optimizer's own when not given
  std::string scheduler = "none";
  std::optional<std::int64_t> num_warmup_steps;
  std::optional<std::int64_t> num_training_steps;
  std::optional<double> clip_grad_norm;
  std::optional<std::int64_t> accumulate_samples;
  double update_period = 30;         ///< seconds
  std::optional<double> expiration;  ///< seconds; max(2 x update_period, 3) when not given
  std::string compression = "NONE";
  std::optional<double> stats_report_interval;  ///< seconds
  std::string metrics;                          ///< as `socket_address` reads it
};

namespace detail {

[[nodiscard]] inline std::vector<std::string> optimizer_names() { return {"adam", "adamw", "sgd", "lamb", "none"}; }
[[nodiscard]] inline std::vector<std::string> compression_names() {
  return {"NONE", "FLOAT16", "MEANSTD_16BIT", "UNIFORM_8BIT", "QUANTILE_8BIT", "BLOCKWISE_8BIT"};
}
[[nodiscard]] inline std::vector<std::string> dtype_names() {
  return {"float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"};
}

[[nodiscard]] inline std::string check_uid(const std::string& text) {
  if (moe::is_valid_uid(text)) return {};
  return in_quotes(text) + " is not an expert uid: a name without dots, then numbers, such as ffn.0 or ffn.3.14";
}

[[nodiscard]] inline std::string check_pattern(const std::string& text) {
  try {
    (void)moe::UidPattern(text);
    return {};
  } catch (const Error& error) {
    return std::string(without_prefix(error.what()));
  }
}

[[nodiscard]] inline std::string check_option(const std::string& text) {
  const auto equals = text.find('=');
  if (equals != std::string::npos && equals > 0) return {};
  return in_quotes(text) + " is not of the form name=value, such as num_heads=8";
}

[[nodiscard]] inline std::string check_device(const std::string& text) {
  std::uint16_t index = 0;
  if (text == "cpu" || text == "cuda") return {};
  if (text.starts_with("cuda:") && read_number(std::string_view(text).substr(5), index)) return {};
  return in_quotes(text) + " is not a device: cpu, cuda, or cuda: and a number are";
}

/// What the flags that name the experts must fulfil together.
inline void check_experts(const ServerFlags& flags) {
  if (!flags.custom_module_path.empty()) {
    throw UsageError{
        "--custom_module_path: Python files cannot be run here; save the module with torch.jit.save and give it to "
        "--torchscript, or write a C++ module and a main that returns "
        "skep::cli::server_main<YourExpert>(argc, argv)"};
  }
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
  if (flags.torchscript.empty() && !flags.torchscript_inputs.empty()) {
    throw UsageError{"--torchscript_inputs: only the module of --torchscript needs it"};
  }
  if (!flags.torchscript.empty() && (flags.class_given || !flags.expert_options.empty())) {
    throw UsageError{"--torchscript: the file says what the experts are; leave out --expert_cls and --expert_options"};
  }
}

/// What the flags of the training must fulfil together.
inline void check_training(const ServerFlags& flags) {
  struct Given {
    const char* flag;
    bool given;
  };
  if (flags.optimizer == "none") {
    for (const auto& [flag, given] :
         {Given{"--learning_rate", bool(flags.learning_rate)}, Given{"--scheduler", flags.scheduler != "none"},
          Given{"--clip_grad_norm", bool(flags.clip_grad_norm)},
          Given{"--accumulate_samples", bool(flags.accumulate_samples)}}) {
      if (given) throw UsageError{"--optimizer: with none the experts do not learn; leave out " + std::string(flag)};
    }
  }
  if (flags.scheduler == "none") {
    for (const auto& [flag, given] : {Given{"--num_warmup_steps", bool(flags.num_warmup_steps)},
                                      Given{"--num_training_steps", bool(flags.num_training_steps)}}) {
      if (given) throw UsageError{std::string(flag) + ": it goes with --scheduler linear"};
    }
  } else if (!flags.num_training_steps) {
    throw UsageError{"--scheduler: linear needs to know the steps until it ends: give --num_training_steps"};
  } else if (flags.num_warmup_steps.value_or(0) > *flags.num_training_steps) {
    throw UsageError{"--num_warmup_steps: " + std::to_string(*flags.num_warmup_steps) +
                     " are more than --num_training_steps, which is " + std::to_string(*flags.num_training_steps)};
  }
}

/// What all flags of a server must fulfil together.
inline void check_together(const ServerFlags& flags) {
  check_experts(flags);
  check_training(flags);
  if (flags.min_batch_size > flags.max_batch_size) {
    throw UsageError{"--min_batch_size: " + std::to_string(flags.min_batch_size) +
                     " is more than --max_batch_size, which is " + std::to_string(flags.max_batch_size)};
  }
  if (flags.expiration && *flags.expiration <= flags.update_period) {
    throw UsageError{
        "--expiration: experts would expire before they are declared again; give more than --update_period"};
  }
}

}  // namespace detail

}  // namespace skep::inline v0::cli
