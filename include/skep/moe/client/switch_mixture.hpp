// RemoteSwitchMixtureOfExperts: a residual layer that sends each sample to its best remote expert and spreads the load.
#pragma once

#include <cmath>
#include <cstddef>
#include <memory>
#include <mutex>
#include <ostream>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "skep/async/runner.hpp"
#include "skep/core/error.hpp"
#include "skep/moe/client/expert_inputs.hpp"
#include "skep/moe/client/mixture_module.hpp"
#include "skep/moe/client/mixture_options.hpp"
#include "skep/moe/client/mixture_weights.hpp"
#include "skep/moe/client/switch_routing.hpp"
#include "skep/moe/tensor/signature.hpp"
#include "skep/moe/tensor/torch.hpp"

namespace skep::inline v0::moe {

template <MixtureSignature Signature>
class RemoteSwitchMixtureOfExpertsImpl;

/// Switch mixture (Fedus, Zoph and Shazeer, Switch Transformers, 2021) over a grid of remote experts. The gate gives a
/// probability to each coordinate of each dimension; an expert's probability is the product of those at its
/// coordinates. The output is the sum of the chosen experts' outputs times their probabilities, not rescaled, plus the
/// input: a sample whose experts do not answer passes unchanged.
///
/// In training mode the gate's input is jittered (a copy: what the caller gave is not touched), coordinates are dropped
/// as `grid_dropout` says, and the running utilization of the coordinates is updated by the answers of each batch; in
/// eval mode none of this happens. The second result is the balancing loss: add it, times a small number, to the loss,
/// and the gate learns to use its coordinates evenly.
///
/// *Parameters and buffers:* `proj` (see `MixtureModule`) and `grid_utilization`, float[sum(grid_size)], as Hivemind's.
/// *Threads, errors:* as RemoteMixtureOfExperts; the first output of the experts must have the first input's shape.
template <class R, class... Args>
  requires MixtureSignature<R(Args...)>
class RemoteSwitchMixtureOfExpertsImpl<R(Args...)> : public MixtureModule {
  using Output = std::remove_cvref_t<R>;

 public:
  explicit RemoteSwitchMixtureOfExpertsImpl(SwitchMixtureOptions options)
      : MixtureModule("RemoteSwitchMixtureOfExperts", checked(options).mixture()),
        utilization_alpha_(options.utilization_alpha),
        grid_dropout_(options.grid_dropout),
        jitter_eps_(options.jitter_eps) {
    std::vector<Tensor> even;
    for (const auto size : grid_sizes()) even.push_back(at::full({size}, 1.0 / static_cast<double>(size), at::kFloat));
    grid_utilization = register_buffer("grid_utilization", at::cat(even));
  }

  /// @param inputs  all batch first; the first, float[batch, ..., in_features], goes through the gate as well
  /// @return the output, in the structure of the experts' outputs, and the balancing loss, float[]
  std::tuple<Output, Tensor> forward(Args... inputs) {
    require_may_block("a remote switch mixture's forward");
    const auto given = ExpertInputs::of(inputs...);
    check_batch(given.tensors);
    Tensor seen = gate_input(given.tensors.front());
    if (is_training() && jitter_eps_ > 0) seen = jitter(seen, jitter_eps_);
    std::vector<Tensor> grid_scores = proj->forward(seen).split_with_sizes(grid_sizes(), -1);
    if (is_training() && grid_dropout_ < 1) grid_scores = drop_coordinates(grid_scores, grid_dropout_);
    const auto shared = share(begin_pass(at::cat(grid_scores, -1), Impossible::dropped));
    const auto flat = arrange(given, shared->pass.contract, tensor_count<Output>);
    check_residual(shared->pass.contract);

    const auto outputs = call_experts(shared, flat);
    const MixturePass& pass = shared->pass;
    std::vector<Tensor> grid_softmax;
    for (const Tensor& scores : grid_scores) grid_softmax.push_back(scores.softmax(-1));
    const Tensor probabilities = compute_expert_scores(grid_softmax, pass.choice);
    const Tensor weights = place_probabilities(probabilities, pass, options().k_min);
    std::vector<Tensor> sums;
    for (const Tensor& output : outputs) sums.push_back(add_up(output, weights, pass));
    sums.front() = sums.front() + given.tensors.front();
    return {pack_tensors<Output>(sums), balancing_loss(grid_softmax, update_utilization(pass))};
  }

  /// The probabilities of each row's experts, float[rows, k]; see `multiply_grid_scores`.
  /// @param grid_probs  for each dimension float[rows, size]
  [[nodiscard]] Tensor compute_expert_scores(const std::vector<Tensor>& grid_probs,
                                             const ExpertChoice& batch_experts) const {
    return multiply_grid_scores(grid_probs, batch_experts);
  }

  void pretty_print(std::ostream& stream) const override {
    stream << "skep::moe::RemoteSwitchMixtureOfExperts(in_features=" << options().in_features << ", uid_prefix=\""
           << uid_prefix() << "\", grid_size=" << at::IntArrayRef(grid_sizes()) << ", k_best=" << options().k_best
           << ")";
  }

  Tensor grid_utilization;  ///< running fractions of the answers by coordinate, the dimensions side by side

 private:
  static const SwitchMixtureOptions& checked(const SwitchMixtureOptions& options) {
    const auto refuse = [](const std::string& sentence) { throw Error(errc::invalid_argument, sentence); };
    if (!(options.grid_dropout > 0 && options.grid_dropout <= 1)) {
      refuse("grid_dropout is the probability with which a coordinate is kept: above 0, at most 1, which is off");
    }
    if (!(options.utilization_alpha >= 0 && options.utilization_alpha <= 1)) {
      refuse("utilization_alpha must lie between 0 and 1");
    }
    if (!(options.jitter_eps >= 0 && options.jitter_eps < 1)) refuse("jitter_eps must lie between 0 and 1");
    return options;
  }

  void check_residual(const std::shared_ptr<const ExpertContract>& contract) const {
    const auto& input = contract->inputs.front();
    const auto& output = contract->outputs.front();
    if (input.size == output.size) return;
    doubt(contract);
    throw Error(errc::invalid_argument,
                "the experts under \"" + uid_prefix() + "\" answer with " + output.to_string() + " to " +
                    input.to_string() + "; a switch mixture adds its input to their output, so both need one shape");
  }

  /// The utilization after this batch; it stays as it is when nobody answered, and in eval mode.
  [[nodiscard]] Tensor update_utilization(const MixturePass& pass) {
    const std::scoped_lock lock(mutex_);
    const at::NoGradGuard no_grad;
    if (is_training()) {
      const Tensor now = batch_utilization(pass, grid_sizes());
      if (now.defined()) {
        grid_utilization.mul_(utilization_alpha_).add_(now.to(grid_utilization.device()), 1 - utilization_alpha_);
      }
    }
    return grid_utilization.clone();
  }

  double utilization_alpha_;
  double grid_dropout_;
  double jitter_eps_;
  std::mutex mutex_;  // of grid_utilization, for trainers on several threads
};

/// The holder.
template <MixtureSignature Signature = Tensor(Tensor)>
class RemoteSwitchMixtureOfExperts : public torch::nn::ModuleHolder<RemoteSwitchMixtureOfExpertsImpl<Signature>> {
 public:
  using Impl = RemoteSwitchMixtureOfExpertsImpl<Signature>;
  using torch::nn::ModuleHolder<Impl>::ModuleHolder;

  explicit RemoteSwitchMixtureOfExperts(SwitchMixtureOptions options)
      : torch::nn::ModuleHolder<Impl>(std::make_shared<Impl>(std::move(options))) {}
};

}  // namespace skep::inline v0::moe
