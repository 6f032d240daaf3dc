// ExpertState: everything an expert has learned, as data: what a checkpoint holds and a restored expert starts from.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "skep/moe/tensor/torch.hpp"

namespace skep::inline v0::moe {

using NamedTensors = torch::OrderedDict<std::string, Tensor>;

/// An optimizer's state in the form of Python's `optimizer.state_dict()`.
struct OptimizerState {
  using Values = std::map<std::string, c10::IValue>;

  /// What it keeps for each parameter ("step", "exp_avg", ...), by the parameter's position in the module; none before
  /// its first step. The steps are float32[] tensors, as torch.optim's are.
  std::map<std::int64_t, Values> state = {};
  /// Its options ("lr", "betas", ...); with a schedule "initial_lr" is the rate that the factors multiply. An optimizer
  /// of the user's own has only "archive" here, uint8[n]: what its `save` wrote.
  Values options = {};
};

/// The state of an expert, in Hivemind's meaning: module, optimizer, scheduler. All tensors are copies on the CPU that
/// nothing else holds.
struct ExpertState {
  NamedTensors parameters{};                       ///< by the module's names
  NamedTensors buffers{};                          ///< the same
  std::optional<OptimizerState> optimizer = {};    ///< none when the expert is not trained
  std::optional<std::int64_t> schedule_step = {};  ///< none without a schedule
  std::uint64_t updates = 0;                       ///< steps that the optimizer has made
};

}  // namespace skep::inline v0::moe
