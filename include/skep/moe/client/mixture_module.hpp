// MixtureModule: what the remote mixtures have in common, a gate over a grid and the checks before anything is sent.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "skep/core/error.hpp"
#include "skep/moe/client/autograd.hpp"
#include "skep/moe/client/expert_inputs.hpp"
#include "skep/moe/client/mixture_call.hpp"
#include "skep/moe/client/mixture_client.hpp"
#include "skep/moe/client/mixture_options.hpp"
#include "skep/moe/client/mixture_pass.hpp"
#include "skep/moe/tensor/torch.hpp"

namespace skep::inline v0::moe {

/// The gate of a mixture, and its experts behind the network. The mixtures proper say how scores become weights.
///
/// *Parameters:* `proj`, Linear(in_features, sum(grid_size)), the same names as in Hivemind's state_dict.
class MixtureModule : public torch::nn::Module {
 public:
  torch::nn::Linear proj{nullptr};  ///< the gate

 protected:
  MixtureModule(std::string name, MixtureOptions options)
      : torch::nn::Module(std::move(name)), client_(std::make_shared<MixtureClient>(checked(std::move(options)))) {
    const auto sizes = grid_sizes();
    const auto total = std::accumulate(sizes.begin(), sizes.end(), std::int64_t{0});
    proj = register_module("proj", torch::nn::Linear(client_->options().in_features, total));
  }

  [[nodiscard]] const MixtureOptions& options() const noexcept { return client_->options(); }
  [[nodiscard]] const std::string& uid_prefix() const noexcept { return client_->uid_prefix(); }
  [[nodiscard]] std::vector<std::int64_t> grid_sizes() const {
    const auto& sizes = client_->options().grid_size;
    return {sizes.begin(), sizes.end()};
  }

  void check_batch(const std::vector<Tensor>& flat) const {
    const Tensor& input = flat.front();
    if (input.dim() < 2 || input.size(-1) != options().in_features) {
      throw Error(errc::invalid_argument, "the input of the mixture under \"" + uid_prefix() + "\" is " +
                                              describe_tensor(input.sizes(), input.scalar_type()) +
                                              ", expected [batch, ..., " + std::to_string(options().in_features) + "]");
    }
    if (options().detect_anomalies) detail::require_finite(flat, "inputs");
  }
  /// The inputs in the order of a request, those given by name among them. Throws where they do not fit the contract,
  /// which is forgotten: it may be wrong itself.
  /// @param outputs  how many tensors the mixture's signature returns
  [[nodiscard]] std::vector<Tensor> arrange(const ExpertInputs& given,
                                            const std::shared_ptr<const ExpertContract>& contract,
                                            std::size_t outputs) const {
    try {
      auto flat = given.arranged(contract->schema, "the experts under \"" + uid_prefix() + "\"");
      check_inputs(flat, *contract, outputs);
      return flat;
    } catch (const Error&) {
      doubt(contract);
      throw;
    }
  }
  void doubt(const std::shared_ptr<const ExpertContract>& contract) const { client_->doubt(contract); }

  /// What the gate sees: the first input, averaged over its middle dimensions.
  [[nodiscard]] static Tensor gate_input(const Tensor& input) {
    if (input.dim() <= 2) return input;
    std::vector<std::int64_t> middle(static_cast<std::size_t>(input.dim() - 2));
    std::iota(middle.begin(), middle.end(), 1);
    return input.mean(middle);
  }

  /// What becomes of experts whose score is minus infinity.
  enum class Impossible : std::uint8_t { kept, dropped };

  /// Chooses each row's experts by the scores of the grid, float[rows, sum(grid)].
  [[nodiscard]] MixturePass begin_pass(const Tensor& scores, Impossible impossible = Impossible::kept) {
    Tensor values = scores.detach().to(at::kCPU, at::kFloat).contiguous();
    const auto* begin = values.data_ptr<float>();
    const auto rows = static_cast<std::size_t>(scores.size(0));
    ExpertChoice choice = client_->choose(std::vector<Score>(begin, begin + values.numel()), rows);
    auto contract = client_->known_contract();
    if (!contract && rows == 0) {  // the form of an empty answer: ask any expert
      contract = client_->contract(client_->choose(std::vector<Score>(static_cast<std::size_t>(scores.size(1))), 1));
    }
    const bool may_be_zeros = rows == 0 || (contract && options().allow_zero_outputs);
    if (choice.experts.empty() && !may_be_zeros) client_->throw_no_expert();
    if (!contract || (client_->is_doubted() && !choice.experts.empty())) contract = client_->contract(choice);
    if (impossible == Impossible::dropped) choice.drop_impossible();
    MixturePass pass = MixturePass::make(std::move(choice), std::move(contract));
    pass.scores = std::move(values);
    pass.drop_impossible = impossible == Impossible::dropped;
    return pass;
  }

  /// Sends a pass through the experts, as part of the graph.
  /// @return for each output [places, ...]; `shared->pass` says who answered
  [[nodiscard]] std::vector<Tensor> call_experts(const std::shared_ptr<detail::MixtureCall::Shared>& shared,
                                                 const std::vector<Tensor>& flat) {
    const Tensor learns = torch::empty({0}, at::TensorOptions().requires_grad(true));
    return detail::MixtureCall::apply(shared, learns, at::TensorList(flat));
  }
  [[nodiscard]] std::shared_ptr<detail::MixtureCall::Shared> share(MixturePass pass) const {
    auto shared = std::make_shared<detail::MixtureCall::Shared>();
    shared->client = client_;
    shared->pass = std::move(pass);
    return shared;
  }

 private:
  void check_inputs(const std::vector<Tensor>& flat, const ExpertContract& contract, std::size_t outputs) const {
    if (flat.front().size(0) > 0) {
      if (auto sentence = contract.forward_check.tensors(flat)) {
        throw Error(errc::invalid_argument,
                    "the experts under \"" + uid_prefix() + "\" refused the request: " + *sentence);
      }
    }
    if (contract.outputs.size() != outputs) {
      throw Error(errc::invalid_argument, "the experts under \"" + uid_prefix() + "\" answer with " +
                                              std::to_string(contract.outputs.size()) +
                                              " tensors, the mixture's signature says " + std::to_string(outputs));
    }
  }
  static MixtureOptions checked(MixtureOptions options) {
    if (options.in_features <= 0) throw Error(errc::invalid_argument, "in_features of a mixture must be at least 1");
    if (options.k_best == 0) throw Error(errc::invalid_argument, "k_best of a mixture must be at least 1");
    if (options.k_min > options.k_best) {
      throw Error(errc::invalid_argument, "k_min = " + std::to_string(options.k_min) + " is more than k_best = " +
                                              std::to_string(options.k_best) + ", no sample could ever have so many");
    }
    return options;
  }

  std::shared_ptr<MixtureClient> client_;
};

}  // namespace skep::inline v0::moe
