// RemoteMixtureOfExperts: a layer whose experts live on other machines, a module among others.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <numeric>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "skep/async/runner.hpp"
#include "skep/core/error.hpp"
#include "skep/moe/client/autograd.hpp"
#include "skep/moe/client/mixture_call.hpp"
#include "skep/moe/client/mixture_client.hpp"
#include "skep/moe/client/mixture_options.hpp"
#include "skep/moe/client/mixture_pass.hpp"
#include "skep/moe/client/mixture_weights.hpp"
#include "skep/moe/tensor/signature.hpp"
#include "skep/moe/tensor/torch.hpp"

namespace skep::inline v0::moe {

template <TensorSignature Signature>
class RemoteMixtureOfExpertsImpl;

/// Mixture of experts (Learning@home, section 3): a local gate scores the coordinates of a grid, a beam search in the
/// DHT finds each sample's `k_best` live experts, all rows for one expert travel in one request, and the outputs are
/// averaged with the softmax of the scores over the experts that answered in time. `backward` trains the gate here and
/// the experts where they live; experts that do not answer it count as constants.
///
/// *Parameters:* `proj`, Linear(in_features, sum(grid_size)), the same names as in Hivemind's state_dict.
/// *Threads:* any number of threads may call it at once; it blocks, so none of them may be an I/O thread.
/// *Errors:* errc::not_found when no expert is declared; errc::invalid_argument for inputs that the experts do not
/// take; for samples with fewer than `k_min` answers an error or zeros (`allow_zero_outputs`), never NaN.
template <class R, class... Args>
  requires TensorSignature<R(Args...)>
class RemoteMixtureOfExpertsImpl<R(Args...)> : public torch::nn::Module {
  using Output = std::remove_cvref_t<R>;

 public:
  explicit RemoteMixtureOfExpertsImpl(MixtureOptions options)
      : torch::nn::Module("RemoteMixtureOfExperts"),
        client_(std::make_shared<MixtureClient>(checked(std::move(options)))) {
    const auto sizes = grid_sizes();
    const auto total = std::accumulate(sizes.begin(), sizes.end(), std::int64_t{0});
    proj = register_module("proj", torch::nn::Linear(client_->options().in_features, total));
  }

  /// @param inputs  all batch first; the first, float[batch, ..., in_features], goes through the gate as well, averaged
  ///                over its middle dimensions
  /// @return the experts' outputs, averaged, in their structure
  R forward(Args... inputs) {
    require_may_block("a remote mixture's forward");
    std::vector<Tensor> flat;
    (flatten_into(inputs, flat), ...);
    check_batch(flat);
    const Tensor scores = proj->forward(gate_input(flat.front()));
    auto shared = std::make_shared<detail::MixtureCall::Shared>();
    shared->client = client_;
    shared->pass = begin_pass(scores);
    check_inputs(flat, *shared->pass.contract);

    const Tensor learns = torch::empty({0}, at::TensorOptions().requires_grad(true));
    const auto outputs = detail::MixtureCall::apply(shared, learns, at::TensorList(flat));
    const MixturePass& pass = shared->pass;
    const Tensor logits = compute_expert_scores(scores.split_with_sizes(grid_sizes(), -1), pass.choice);
    const Tensor weights = place_weights(logits, pass, client_->options().k_min);
    const Tensor row_of_place = pass.rows.to(weights.device());
    std::vector<Tensor> averaged;
    for (const Tensor& output : outputs) averaged.push_back(add_up(output, weights, row_of_place, scores.size(0)));
    return pack_tensors<Output>(averaged);
  }

  /// The logits of each row's experts, float[rows, k]; see `sum_grid_scores`.
  /// @param grid_scores  for each dimension float[rows, size]
  [[nodiscard]] Tensor compute_expert_scores(const std::vector<Tensor>& grid_scores,
                                             const ExpertChoice& batch_experts) const {
    return sum_grid_scores(grid_scores, batch_experts);
  }

  void pretty_print(std::ostream& stream) const override {
    stream << "skep::moe::RemoteMixtureOfExperts(in_features=" << client_->options().in_features << ", uid_prefix=\""
           << client_->uid_prefix() << "\", grid_size=" << at::IntArrayRef(grid_sizes())
           << ", k_best=" << client_->options().k_best << ")";
  }

  torch::nn::Linear proj{nullptr};  ///< the gate

 private:
  static MixtureOptions checked(MixtureOptions options) {
    if (options.in_features <= 0) throw Error(errc::invalid_argument, "in_features of a mixture must be at least 1");
    if (options.k_best == 0) throw Error(errc::invalid_argument, "k_best of a mixture must be at least 1");
    if (options.k_min > options.k_best) {
      throw Error(errc::invalid_argument, "k_min = " + std::to_string(options.k_min) + " is more than k_best = " +
                                              std::to_string(options.k_best) + ", no sample could ever have so many");
    }
    return options;
  }

  void check_batch(const std::vector<Tensor>& flat) const {
    const Tensor& input = flat.front();
    if (input.dim() < 2 || input.size(-1) != client_->options().in_features) {
      throw Error(errc::invalid_argument, "the input of the mixture under \"" + client_->uid_prefix() + "\" is " +
                                              describe_tensor(input.sizes(), input.scalar_type()) +
                                              ", expected [batch, ..., " +
                                              std::to_string(client_->options().in_features) + "]");
    }
    if (client_->options().detect_anomalies) detail::require_finite(flat, "inputs");
  }
  void check_inputs(const std::vector<Tensor>& flat, const ExpertContract& contract) const {
    if (flat.front().size(0) > 0) {
      if (auto sentence = contract.forward_check.tensors(flat)) {
        throw Error(errc::invalid_argument,
                    "the experts under \"" + client_->uid_prefix() + "\" refused the request: " + *sentence);
      }
    }
    if (contract.outputs.size() != tensor_count<Output>) {
      throw Error(errc::invalid_argument, "the experts under \"" + client_->uid_prefix() + "\" answer with " +
                                              std::to_string(contract.outputs.size()) +
                                              " tensors, the mixture's signature says " +
                                              std::to_string(tensor_count<Output>));
    }
  }

  [[nodiscard]] static Tensor gate_input(const Tensor& input) {
    if (input.dim() <= 2) return input;
    std::vector<std::int64_t> middle(static_cast<std::size_t>(input.dim() - 2));
    std::iota(middle.begin(), middle.end(), 1);
    return input.mean(middle);
  }

  [[nodiscard]] std::vector<std::int64_t> grid_sizes() const {
    const auto& sizes = client_->options().grid_size;
    return {sizes.begin(), sizes.end()};
  }

  /// Chooses each row's experts by the scores of the grid, float[rows, sum(grid)].
  [[nodiscard]] MixturePass begin_pass(const Tensor& scores) {
    const Tensor values = scores.detach().to(at::kCPU, at::kFloat).contiguous();
    const auto* begin = values.data_ptr<float>();
    const auto rows = static_cast<std::size_t>(scores.size(0));
    ExpertChoice choice = client_->choose(std::vector<Score>(begin, begin + values.numel()), rows);
    auto contract = client_->known_contract();
    if (!contract && rows == 0) {  // the form of an empty answer: ask any expert
      contract = client_->contract(client_->choose(std::vector<Score>(static_cast<std::size_t>(scores.size(1))), 1));
    }
    const bool may_be_zeros = rows == 0 || (contract && client_->options().allow_zero_outputs);
    if (choice.experts.empty() && !may_be_zeros) client_->throw_no_expert();
    if (!contract) contract = client_->contract(choice);
    return MixturePass::make(std::move(choice), std::move(contract));
  }

  std::shared_ptr<MixtureClient> client_;
};

/// The holder.
template <TensorSignature Signature = Tensor(Tensor)>
class RemoteMixtureOfExperts : public torch::nn::ModuleHolder<RemoteMixtureOfExpertsImpl<Signature>> {
 public:
  using Impl = RemoteMixtureOfExpertsImpl<Signature>;
  using torch::nn::ModuleHolder<Impl>::ModuleHolder;

  explicit RemoteMixtureOfExperts(MixtureOptions options)
      : torch::nn::ModuleHolder<Impl>(std::make_shared<Impl>(std::move(options))) {}
};

}  // namespace skep::inline v0::moe
