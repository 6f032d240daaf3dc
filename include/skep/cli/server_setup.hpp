// From the flags of skep-server to the options of a Server.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "skep/cli/joining.hpp"
#include "skep/cli/processes.hpp"
#include "skep/cli/sample_shape.hpp"
#include "skep/cli/server_flags.hpp"
#include "skep/core/error.hpp"
#include "skep/moe/server/backend_options.hpp"
#include "skep/moe/server/checkpoint_options.hpp"
#include "skep/moe/server/learning_rate.hpp"
#include "skep/moe/server/optimizers.hpp"
#include "skep/moe/server/server_options.hpp"
#include "skep/moe/server/torchscript_backend.hpp"
#include "skep/moe/tensor/compression.hpp"
#include "skep/moe/tensor/torch.hpp"

namespace skep::inline v0::cli {

namespace detail {

[[nodiscard]] inline int compute_threads(const ServerFlags& flags) {
  if (flags.threads) return static_cast<int>(*flags.threads);
  return static_cast<int>(fair_share(std::thread::hardware_concurrency(), processes_of_this_program()));
}

[[nodiscard]] inline moe::TorchScriptOptions torchscript(const ServerFlags& flags) {
  moe::TorchScriptOptions script{.file = flags.torchscript, .trained = flags.optimizer != "none"};
  for (const std::string& text : flags.torchscript_inputs) {
    const SampleShape shape = *sample_shape(text);
    script.sample.emplace_back(at::zeros(shape.size, *moe::dtype_of_name(shape.dtype)));
  }
  return script;
}

[[nodiscard]] inline moe::ExpertGroup expert_group(const ServerFlags& flags) {
  moe::ExpertGroup group{.expert_cls = flags.expert_cls,
                         .expert_uids = flags.expert_uids,
                         .num_experts = static_cast<std::size_t>(flags.num_experts.value_or(0)),
                         .expert_pattern = flags.expert_pattern,
                         .expert = {.hidden_dim = flags.hidden_dim}};
  if (!flags.torchscript.empty()) {
    group.expert_cls.clear();
    group.make = [script = torchscript(flags)](const std::string& uid, const moe::BackendOptions& options) {
      return std::make_shared<moe::TorchScriptBackend>(uid, script, options);
    };
  }
  for (const std::string& option : flags.expert_options) {
    const auto equals = option.find('=');
    group.expert.extra[option.substr(0, equals)] = option.substr(equals + 1);
  }
  return group;
}

}  // namespace detail

/// The options of a Server that flags stand for. Throws errc::invalid_argument with a sentence that names the flag for
/// what only LibTorch and this build know.
[[nodiscard]] inline moe::ServerOptions server_options(const ServerFlags& flags) {
  if (flags.device.starts_with("cuda") && !at::hasCUDA()) {
    throw Error(errc::invalid_argument, "--device: this LibTorch knows no CUDA; leave out --device, or give cpu");
  }
  moe::ServerOptions options{
      .experts = {detail::expert_group(flags)},
      .optimizer = moe::optimizer_of_name(flags.optimizer, flags.learning_rate),
      .schedule = {.kind = moe::schedule_of_name(flags.scheduler),
                   .num_warmup_steps = flags.num_warmup_steps.value_or(0),
                   .num_training_steps = flags.num_training_steps.value_or(0)},
      .clip_grad_norm = flags.clip_grad_norm,
      .accumulate_samples = static_cast<std::size_t>(flags.accumulate_samples.value_or(0)),
      .min_batch_size = static_cast<std::size_t>(flags.min_batch_size),
      .max_batch_size = static_cast<std::size_t>(flags.max_batch_size),
      .compression = moe::compression_of_name(flags.compression).value_or(moe::Compression::none),
      .threads = detail::compute_threads(flags),
      .update_period = detail::seconds(flags.update_period),
      .checkpoints = {.directory = flags.checkpoint_dir, .period = detail::seconds(flags.update_period)}};
  if (!flags.device.empty() || at::hasCUDA()) options.device = at::Device(flags.device.empty() ? "cuda" : flags.device);
  if (flags.expiration) options.expiration = detail::seconds(*flags.expiration);
  return options;
}

}  // namespace skep::inline v0::cli
