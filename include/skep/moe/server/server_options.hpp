// ServerOptions: which experts a server hosts and how, and what of it does not fit together.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "skep/core/error.hpp"
#include "skep/core/time.hpp"
#include "skep/moe/declare.hpp"
#include "skep/moe/server/backend_options.hpp"
#include "skep/moe/server/checkpoint_folder.hpp"
#include "skep/moe/server/checkpoint_options.hpp"
#include "skep/moe/server/expert.hpp"
#include "skep/moe/server/expert_backend.hpp"
#include "skep/moe/server/handler_state.hpp"
#include "skep/moe/server/learning_rate.hpp"
#include "skep/moe/server/optimizers.hpp"
#include "skep/moe/server/uid_pattern.hpp"
#include "skep/moe/tensor/compression.hpp"
#include "skep/moe/uid.hpp"

namespace skep::inline v0::moe {

/// Makes one expert, as a class of the server does; for what is only known at run time.
using ExpertFactory = std::function<std::shared_ptr<ExpertBackend>(const std::string& uid, const BackendOptions&)>;

/// Experts of one class: these uids, or so many free ones.
struct ExpertGroup {
  std::string expert_cls = {};                ///< the `Expert<M>::name`; empty: the server's first class
  std::vector<std::string> expert_uids = {};  ///< exactly these
  std::size_t num_experts = 0;                ///< or so many: those that have checkpoints, then free uids
  std::string expert_pattern = {};            ///< drawn from it ("ffn.[0:4].[0:4]"); empty: "expert.0", "expert.1", ...
  ExpertOptions expert = {};
  std::optional<at::Device> device = {};  ///< where they live; empty: the server's
  /// Instead of a class, such as a TorchScript file:
  ///
  ///     .make = [](const auto& uid, const auto& options) {
  ///       return std::make_shared<TorchScriptBackend>(uid, TorchScriptOptions{.file = "block.pt"}, options);
  ///     }
  ExpertFactory make = {};
};

/// Options of a Server; the defaults are Hivemind's.
struct ServerOptions {
  std::vector<ExpertGroup> experts = {};
  OptimizerFactory optimizer = adam();
  LearningRateSchedule schedule = {};         ///< of the learning rate; none: it stays
  std::optional<double> clip_grad_norm = {};  ///< the longest gradient of an expert
  std::size_t accumulate_samples = 0;         ///< gradients are summed until so many; 0: a step a batch
  std::size_t min_batch_size = 1;
  std::size_t max_batch_size = 4096;
  Duration batch_timeout = 100ms;               ///< how long fewer samples than the minimum wait for company
  Compression compression = Compression::none;  ///< of inputs, outputs and gradients
  GradientReduction gradient_reduction = GradientReduction::sum;
  std::size_t max_task_size = 0;            ///< samples of one request; 0: 16 x max_batch_size
  at::Device device = at::kCPU;             ///< where experts live and compute
  int threads = 0;                          ///< LibTorch threads in one operation; 0 leaves LibTorch's choice
  Duration update_period = 30s;             ///< between two declarations of the experts
  std::optional<Duration> expiration = {};  ///< life of a declaration; max(2 x update_period, 3 s) when not given
  /// Between two records beside the declarations that say how long requests take here, for clients that prefer the
  /// faster of equally good experts (`near_tie`); zero: none are made.
  Duration load_period = 0s;
  Duration leave_timeout = 5s;  ///< for requests in hand and the withdrawal when it shuts down
  ConnectionHandlerOptions handler = {};
  /// Every expert call needs a ticket by the DHT's authorizer: only members of the moderated swarm are served, which
  /// shuts out Hivemind's clients, who have none.
  bool guard_calls = false;
  /// Endorse the declarations as this owner (see `declare_experts`): the `owner_tag()` of a signature validator of the
  /// DHT, such as `BasicDHT dht(options, Ed25519SignatureValidator(key))`. Empty: nobody does, as in Hivemind.
  std::string owner_tag = {};
  CheckpointOptions checkpoints = {};  ///< where experts are saved and restored from; no directory: neither

  [[nodiscard]] Duration declaration_life() const {
    return expiration.value_or(std::max<Duration>(2 * update_period, 3s));
  }
};

/// Throws errc::invalid_argument with the sentence for the first option that does not fit.
inline void check(const ServerOptions& options) {
  const auto refuse = [](const std::string& sentence) { throw Error(errc::invalid_argument, sentence); };
  if (options.experts.empty()) refuse("a server without experts serves nothing; give it some in `experts`");
  if (options.update_period <= Duration::zero()) refuse("update_period must be longer than nothing");
  if (options.declaration_life() <= options.update_period) {
    refuse("expiration must be longer than update_period, or the experts expire before they are declared again");
  }
  if (options.load_period < Duration::zero()) refuse("load_period must not be below nothing");
  check(options.schedule);
  if (options.leave_timeout < Duration::zero()) refuse("leave_timeout must not be below nothing");
  if (options.checkpoints.period <= Duration::zero()) refuse("checkpoints.period must be longer than nothing");
  for (const ExpertGroup& group : options.experts) {
    if (group.expert_uids.empty() == (group.num_experts == 0)) {
      refuse("give either expert_uids or num_experts, possibly with expert_pattern, but not both");
    }
    if (!group.expert_uids.empty() && !group.expert_pattern.empty()) {
      refuse("expert_pattern goes with num_experts, not with expert_uids");
    }
    if (group.expert.hidden_dim < 1) refuse("hidden_dim must be at least 1");
    if (group.make && !group.expert_cls.empty()) refuse("give either expert_cls or make, but not both");
    std::vector<std::string> uids = group.expert_uids;
    if (!group.expert_pattern.empty()) uids.push_back(UidPattern(group.expert_pattern).uid(0));
    for (const std::string& uid : uids) {
      if (!is_valid_uid(uid)) throw detail::invalid_uid(uid);
      if (!options.checkpoints.directory.empty()) (void)CheckpointFolder(options.checkpoints.directory, uid);
    }
  }
}

}  // namespace skep::inline v0::moe
