// RemoteMixtureOfExperts: a layer whose experts live on other machines, a module among others.
#pragma once

#include <memory>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "skep/async/runner.hpp"
#include "skep/moe/client/expert_inputs.hpp"
#include "skep/moe/client/mixture_module.hpp"
#include "skep/moe/client/mixture_options.hpp"
#include "skep/moe/client/mixture_weights.hpp"
#include "skep/moe/tensor/signature.hpp"
#include "skep/moe/tensor/torch.hpp"

namespace skep::inline v0::moe {

template <MixtureSignature Signature>
class RemoteMixtureOfExpertsImpl;

/// Mixture of experts (Learning@home, section 3): a local gate scores the coordinates of a grid, a beam search in the
/// DHT finds each sample's `k_best` live experts, all rows for one expert travel in one request, and the outputs are
/// averaged with the softmax of the scores over the experts that answered in time. `backward` trains the gate here and
/// the experts where they live; for one that does not answer it the others of the sample stand, or it counts as a
/// constant (`zero_missing_gradients`).
///
/// *Parameters:* see `MixtureModule`.
/// *Threads:* any number of threads may call it at once; it blocks, so none of them may be an I/O thread.
/// *Errors:* errc::not_found when no expert is declared; errc::invalid_argument for inputs that the experts do not
/// take; for samples with fewer than `k_min` answers an error or zeros (`allow_zero_outputs`), never NaN.
template <class R, class... Args>
  requires MixtureSignature<R(Args...)>
class RemoteMixtureOfExpertsImpl<R(Args...)> : public MixtureModule {
  using Output = std::remove_cvref_t<R>;

 public:
  explicit RemoteMixtureOfExpertsImpl(MixtureOptions options)
      : MixtureModule("RemoteMixtureOfExperts", std::move(options)) {}

  /// @param inputs  all batch first; the first, float[batch, ..., in_features], goes through the gate as well, averaged
  ///                over its middle dimensions
  /// @return the experts' outputs, averaged, in their structure
  R forward(Args... inputs) {
    require_may_block("a remote mixture's forward");
    const auto given = ExpertInputs::of(inputs...);
    check_batch(given.tensors);
    const Tensor scores = proj->forward(gate_input(given.tensors.front()));
    const auto shared = share(begin_pass(scores));
    const auto flat = arrange(given, shared->pass.contract, tensor_count<Output>);

    const auto outputs = call_experts(shared, flat);
    const MixturePass& pass = shared->pass;
    const Tensor logits = compute_expert_scores(scores.split_with_sizes(grid_sizes(), -1), pass.choice);
    const Tensor weights = place_weights(logits, pass, options().k_min);
    if (!options().zero_missing_gradients) shared->weights = weights.detach();
    std::vector<Tensor> averaged;
    for (const Tensor& output : outputs) averaged.push_back(add_up(output, weights, pass));
    return pack_tensors<Output>(averaged);
  }

  /// The logits of each row's experts, float[rows, k]; see `sum_grid_scores`.
  /// @param grid_scores  for each dimension float[rows, size]
  [[nodiscard]] Tensor compute_expert_scores(const std::vector<Tensor>& grid_scores,
                                             const ExpertChoice& batch_experts) const {
    return sum_grid_scores(grid_scores, batch_experts);
  }

  void pretty_print(std::ostream& stream) const override {
    stream << "skep::moe::RemoteMixtureOfExperts(in_features=" << options().in_features << ", uid_prefix=\""
           << uid_prefix() << "\", grid_size=" << at::IntArrayRef(grid_sizes()) << ", k_best=" << options().k_best
           << ")";
  }
};

/// The holder.
template <MixtureSignature Signature = Tensor(Tensor)>
class RemoteMixtureOfExperts : public torch::nn::ModuleHolder<RemoteMixtureOfExpertsImpl<Signature>> {
 public:
  using Impl = RemoteMixtureOfExpertsImpl<Signature>;
  using torch::nn::ModuleHolder<Impl>::ModuleHolder;

  explicit RemoteMixtureOfExperts(MixtureOptions options)
      : torch::nn::ModuleHolder<Impl>(std::make_shared<Impl>(std::move(options))) {}
};

}  // namespace skep::inline v0::moe
