// RemoteMixtureOfExperts: a layer whose experts live on other machines, a module among others.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <numeric>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "skep/async/runner.hpp"
#include "skep/core/error.hpp"
#include "skep/moe/client/autograd.hpp"
#include "skep/moe/client/mixture_client.hpp"
#include "skep/moe/client/mixture_options.hpp"
#include "skep/moe/dispatch_plan.hpp"
#include "skep/moe/tensor/signature.hpp"
#include "skep/moe/tensor/torch.hpp"

namespace skep::inline v0::moe {

namespace detail {

/// The remote part of a mixture as a node of the graph: inputs, batch first, to the outputs of every chosen expert, in
/// the places of the plan.
class MixtureCall : public torch::autograd::Function<MixtureCall> {
 public:
  struct Shared {
    std::shared_ptr<MixtureClient> client;
    MixturePass pass;
  };

  static torch::autograd::variable_list forward(torch::autograd::AutogradContext* context,
                                                std::shared_ptr<Shared> shared, const Tensor& /*learns*/,
                                                at::TensorList inputs) {
    MixturePass& pass = shared->pass;
    for (const Tensor& input : to_send(inputs)) pass.inputs.push_back(input.index_select(0, pass.rows));
    auto outputs = shared->client->forward(pass);
    mark_whole_numbers(*context, outputs);
    const at::Device device = inputs.front().device();
    for (Tensor& output : outputs) output = output.to(device);
    context->save_for_backward(inputs.vec());
    context->saved_data["shared"] = keep_in_graph(std::move(shared));
    return outputs;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    const auto shared = kept_in_graph<Shared>(context->saved_data["shared"]);
    const MixturePass& pass = shared->pass;
    const at::Device device = gradients.front().device();
    const auto batch = static_cast<std::int64_t>(pass.choice.rows());
    torch::autograd::variable_list found;
    {
      const at::NoGradGuard no_grad;
      std::vector<Tensor> sent = to_send(gradients);
      if (shared->client->options().detect_anomalies) require_finite(sent, "gradients");
      for (const Tensor& places : shared->client->backward(pass, sent)) {
        if (!places.is_floating_point()) {
          found.emplace_back();
          continue;
        }
        std::vector<std::int64_t> shape = places.sizes().vec();
        shape[0] = batch;
        found.push_back(at::zeros(shape, places.options()).index_add_(0, pass.rows, places).to(device));
      }
    }
    found = refuse_second_derivative("the mixture under \"" + shared->client->uid_prefix() + "\"",
                                     context->get_saved_variables(), gradients, std::move(found));
    found.insert(found.begin(), {Tensor(), Tensor()});  // of what is shared and of the tensor that makes experts learn
    return found;
  }
};

}  // namespace detail

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
        client_(std::make_shared<MixtureClient>(checked(std::move(options)))),
        proj(register_module("proj", torch::nn::Linear(grid_options().in_features, total_grid_size()))) {}

  /// @param inputs  all batch first; the first, float[batch, ..., in_features], goes through the gate as well, averaged
  ///                over its middle dimensions
  /// @return the experts' outputs, averaged, in their structure
  R forward(Args... inputs) {
    require_may_block("a remote mixture's forward");
    std::vector<Tensor> flat;
    (flatten_into(inputs, flat), ...);
    check_batch(flat);
    const Tensor scores = proj->forward(gate_input(flat.front()));
    std::vector<Tensor> grid_scores = scores.split_with_sizes(
        std::vector<std::int64_t>(grid_options().grid_size.begin(), grid_options().grid_size.end()), -1);

    auto shared = std::make_shared<detail::MixtureCall::Shared>();
    shared->client = client_;
    shared->pass.choice = choose(scores);
    if (shared->pass.choice.experts.empty() && !(grid_options().allow_zero_outputs && client_->known_contract()) &&
        flat.front().size(0) > 0) {
      client_->throw_no_expert();
    }
    shared->pass.contract = client_->contract(shared->pass.choice);
    check_inputs(flat, shared->pass);
    shared->pass.plan = plan_dispatch(shared->pass.choice);
    shared->pass.rows = index_tensor(shared->pass.plan.rows);

    const Tensor learns = torch::empty({0}, at::TensorOptions().requires_grad(true));
    const auto outputs = detail::MixtureCall::apply(shared, learns, at::TensorList(flat));
    return average(outputs, compute_expert_scores(grid_scores, shared->pass.choice), shared->pass);
  }

  /// The logits of each row's experts: for each the sum of the grid's scores at its coordinates.
  /// @param grid_scores  for each dimension float[rows, size]
  /// @return float[rows, k], k the longest list of the batch; shorter ones are filled with minus infinity
  [[nodiscard]] Tensor compute_expert_scores(const std::vector<Tensor>& grid_scores,
                                             const ExpertChoice& batch_experts) const {
    const std::size_t rows = batch_experts.rows();
    const std::size_t width = widest(batch_experts);
    const std::size_t dimensions = grid_scores.size();
    std::vector<std::vector<Coordinate>> coordinates;
    for (const auto& expert : batch_experts.experts) {
      const auto all = coordinates_of(expert.uid);
      coordinates.emplace_back(all->end() - static_cast<std::ptrdiff_t>(dimensions), all->end());
    }
    std::vector<Tensor> index(dimensions);
    std::vector<std::int64_t*> at(dimensions);
    for (std::size_t d = 0; d < dimensions; ++d) {
      index[d] = at::zeros({static_cast<std::int64_t>(rows), static_cast<std::int64_t>(width)}, at::kLong);
      at[d] = index[d].template data_ptr<std::int64_t>();
    }
    Tensor padding = at::ones({static_cast<std::int64_t>(rows), static_cast<std::int64_t>(width)}, at::kBool);
    bool* const padded = padding.template data_ptr<bool>();
    for (std::size_t row = 0; row < rows; ++row) {
      const auto experts = batch_experts.row(row);
      for (std::size_t k = 0; k < experts.size(); ++k) {
        padded[row * width + k] = false;
        for (std::size_t d = 0; d < dimensions; ++d) at[d][row * width + k] = coordinates[experts[k]][d];
      }
    }
    const at::Device device = grid_scores.front().device();
    Tensor scores = grid_scores[0].gather(1, index[0].to(device));
    for (std::size_t d = 1; d < dimensions; ++d) scores = scores + grid_scores[d].gather(1, index[d].to(device));
    return scores.masked_fill(padding.to(device), -std::numeric_limits<double>::infinity());
  }

  void pretty_print(std::ostream& stream) const override {
    stream << "skep::moe::RemoteMixtureOfExperts(in_features=" << grid_options().in_features << ", uid_prefix=\""
           << client_->uid_prefix() << "\", grid_size=" << at::IntArrayRef(sizes())
           << ", k_best=" << grid_options().k_best << ")";
  }

 private:
  std::shared_ptr<MixtureClient> client_;

 public:
  torch::nn::Linear proj;  ///< the gate

 private:
  [[nodiscard]] const MixtureOptions& grid_options() const noexcept { return client_->options(); }
  [[nodiscard]] std::vector<std::int64_t> sizes() const {
    return {grid_options().grid_size.begin(), grid_options().grid_size.end()};
  }
  [[nodiscard]] std::int64_t total_grid_size() const {
    const auto all = sizes();
    return std::accumulate(all.begin(), all.end(), std::int64_t{0});
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

  void check_batch(const std::vector<Tensor>& flat) const {
    const Tensor& input = flat.front();
    if (input.dim() < 2 || input.size(-1) != grid_options().in_features) {
      throw Error(errc::invalid_argument, "the input of the mixture under \"" + client_->uid_prefix() + "\" is " +
                                              describe_tensor(input.sizes(), input.scalar_type()) +
                                              ", expected [batch, ..., " + std::to_string(grid_options().in_features) +
                                              "]");
    }
    if (grid_options().detect_anomalies) detail::require_finite(flat, "inputs");
  }
  void check_inputs(const std::vector<Tensor>& flat, const MixturePass& pass) const {
    if (flat.front().size(0) > 0) {
      if (auto sentence = pass.contract->forward_check.tensors(flat)) {
        throw Error(errc::invalid_argument,
                    "the experts under \"" + client_->uid_prefix() + "\" refused the request: " + *sentence);
      }
    }
    if (pass.contract->outputs.size() != tensor_count<Output>) {
      throw Error(errc::invalid_argument, "the experts under \"" + client_->uid_prefix() + "\" answer with " +
                                              std::to_string(pass.contract->outputs.size()) +
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

  [[nodiscard]] ExpertChoice choose(const Tensor& scores) {
    const Tensor values = scores.detach().to(at::kCPU, at::kFloat).contiguous();
    const auto* begin = values.data_ptr<float>();
    return client_->choose(std::vector<Score>(begin, begin + values.numel()), static_cast<std::size_t>(scores.size(0)));
  }

  [[nodiscard]] static std::size_t widest(const ExpertChoice& choice) {
    std::size_t width = 1;
    for (std::size_t row = 0; row < choice.rows(); ++row) width = std::max(width, choice.row(row).size());
    return width;
  }
  [[nodiscard]] static Tensor index_tensor(const std::vector<std::uint32_t>& values) {
    Tensor index = at::empty({static_cast<std::int64_t>(values.size())}, at::kLong);
    std::copy(values.begin(), values.end(), index.data_ptr<std::int64_t>());
    return index;
  }

  /// Softmax over the experts that answered, times their outputs, added up for each row.
  [[nodiscard]] R average(const torch::autograd::variable_list& outputs, const Tensor& logits,
                          const MixturePass& pass) const {
    const std::int64_t rows = logits.size(0);
    const std::int64_t width = logits.size(1);
    Tensor dead = at::ones({rows, width}, at::kBool);
    Tensor empty = at::zeros({rows, 1}, at::kBool);
    Tensor entry = at::empty({static_cast<std::int64_t>(pass.plan.rows.size())}, at::kLong);
    const bool any_empty =
        fill_masks(pass, width, dead.data_ptr<bool>(), empty.data_ptr<bool>(), entry.data_ptr<std::int64_t>());

    const at::Device device = logits.device();
    dead = dead.to(device);
    empty = empty.to(device);
    constexpr double minus_infinity = -std::numeric_limits<double>::infinity();
    Tensor weights = logits.masked_fill(dead, minus_infinity);
    if (any_empty) weights = weights.masked_fill(empty, 0);  // the softmax of nothing would be NaN
    weights = weights.softmax(-1);
    if (any_empty) weights = weights.masked_fill(empty, 0);
    weights = weights.flatten().index_select(0, entry.to(device));

    const Tensor row_of_place = pass.rows.to(device);
    std::vector<Tensor> averaged;
    for (const Tensor& output : outputs) {
      std::vector<std::int64_t> broadcast(static_cast<std::size_t>(output.dim()), 1);
      broadcast[0] = -1;
      std::vector<std::int64_t> shape = output.sizes().vec();
      shape[0] = rows;
      const Tensor weighted = output * weights.to(output.scalar_type()).view(broadcast);
      averaged.push_back(at::zeros(shape, output.options()).index_add(0, row_of_place, weighted));
    }
    return pack_tensors<Output>(averaged);
  }

  /// Says which entries of [rows, width] count, which rows have none, and to which entry each place belongs.
  [[nodiscard]] bool fill_masks(const MixturePass& pass, std::int64_t width, bool* dead, bool* empty,
                                std::int64_t* entry) const {
    std::vector<bool> alive_expert(pass.choice.experts.size());
    for (std::size_t i = 0; i < pass.plan.calls(); ++i) alive_expert[pass.plan.experts[i]] = pass.alive[i];
    bool any_empty = false;
    for (std::size_t row = 0; row < pass.choice.rows(); ++row) {
      empty[row] = pass.answers[row] < std::max<std::size_t>(grid_options().k_min, 1);
      any_empty = any_empty || empty[row];
      const auto experts = pass.choice.row(row);
      for (std::size_t k = 0; k < experts.size(); ++k) {
        const std::size_t index = row * static_cast<std::size_t>(width) + k;
        dead[index] = !alive_expert[experts[k]];
        entry[pass.plan.places[pass.choice.offsets[row] + k]] = static_cast<std::int64_t>(index);
      }
    }
    return any_empty;
  }
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
