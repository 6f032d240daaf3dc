// ModuleCore: a module with its schema, its optimizer and what forward and backward compute; what a backend's pools
// share.
#pragma once

#include <algorithm>
#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "skep/core/error.hpp"
#include "skep/core/time.hpp"
#include "skep/moe/batch_scheduler.hpp"
#include "skep/moe/server/expert.hpp"
#include "skep/moe/server/optimizers.hpp"
#include "skep/moe/tensor/schema.hpp"
#include "skep/moe/tensor/signature.hpp"

namespace skep::inline v0::moe {

/// Options of a ModuleBackend.
struct BackendOptions {
  ExpertOptions expert = {};
  OptimizerFactory optimizer = adam();
  std::size_t max_batch_size = 4096;            ///< samples in one batch; larger requests are refused
  std::size_t min_batch_size = 1;               ///< fewer samples wait for company, but no longer than the timeout
  Duration batch_timeout = 100ms;               ///< how long they wait
  std::size_t max_queued = 1024;                ///< requests that may wait in each pool; one more is answered "busy"
  Compression compression = Compression::none;  ///< of inputs, outputs and gradients, where the type allows it
  std::shared_ptr<BatchScheduler> scheduler =
      nullptr;  ///< whose thread computes; null: the backend has a thread of its own
};

namespace detail {

template <class M>
concept HasKeywordNames = requires { Expert<M>::keyword_names.size(); };

/// How many of the last parameters are keyword inputs.
template <class M>
constexpr std::size_t keyword_count() {
  if constexpr (HasKeywordNames<M>) {
    return Expert<M>::keyword_names.size();
  } else {
    return 0;
  }
}

/// The module, its optimizer and its schema, shared by the backend and the tasks of its pools.
template <class M>
class ModuleCore {
  using Signature = decltype(&module_of<M>::forward);
  using Arguments = arguments_of_signature<Signature>;
  using Returned = result_of_signature<Signature>;
  static constexpr std::size_t parameter_total = std::tuple_size_v<Arguments>;
  static constexpr std::size_t keywords = keyword_count<M>();
  static constexpr std::size_t positional = parameter_total - keywords;
  static_assert(keywords <= parameter_total, "skep: more keyword_names than parameters of forward");

 public:
  template <class Sample>
  ModuleCore(std::string uid, M module, const Sample& sample, const BackendOptions& options)
      : uid_(std::move(uid)), module_(std::move(module)), class_name_(class_name_of(*module_)) {
    static_assert(tensor_count<Sample> == tensor_count<Arguments>,
                  "skep: an Expert's sample() gives one tensor for each input of forward");
    read_wire_order();
    make_schema(flat_tensors(sample), options);
    for (const Tensor& parameter : module_->parameters()) {
      if (!parameter.requires_grad()) continue;
      parameters_.push_back(parameter);
      parameter_count_ += parameter.numel();
    }
    if (options.optimizer && !parameters_.empty()) optimizer_ = options.optimizer(parameters_);
  }

  [[nodiscard]] const std::string& uid() const noexcept { return uid_; }
  [[nodiscard]] const std::string& class_name() const noexcept { return class_name_; }
  [[nodiscard]] const ExpertSchema& schema() const noexcept { return schema_; }
  [[nodiscard]] std::int64_t parameter_count() const noexcept { return parameter_count_; }
  [[nodiscard]] std::uint64_t update_count() const noexcept { return updates_.load(std::memory_order_relaxed); }
  [[nodiscard]] M& module() noexcept { return module_; }
  [[nodiscard]] const std::vector<BatchTensorDescriptor>& inputs() const noexcept { return inputs_; }
  [[nodiscard]] const std::vector<BatchTensorDescriptor>& outputs() const noexcept { return outputs_; }

  [[nodiscard]] std::vector<Tensor> forward(const std::vector<Tensor>& inputs) {
    check_count(inputs.size(), inputs_.size());
    const at::NoGradGuard no_grad;
    return flat_tensors(apply(inputs));
  }

  [[nodiscard]] std::vector<Tensor> backward(const std::vector<Tensor>& all) {
    check_count(all.size(), inputs_.size() + outputs_.size());
    const at::AutoGradMode with_gradients(true);
    std::vector<Tensor> inputs;
    std::vector<Tensor> wanted;  // what gradients are computed for: float inputs, and parameters when they are trained
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      Tensor input = all[i].detach();
      if (input.is_floating_point()) wanted.push_back(input.requires_grad_());
      inputs.push_back(std::move(input));
    }
    const std::size_t float_inputs = wanted.size();
    if (optimizer_) wanted.insert(wanted.end(), parameters_.begin(), parameters_.end());

    std::vector<Tensor> outputs;
    std::vector<Tensor> output_gradients;
    const std::vector<Tensor> results = flat_tensors(apply(inputs));
    for (std::size_t i = 0; i < results.size(); ++i) {
      if (!results[i].requires_grad()) continue;
      outputs.push_back(results[i]);
      output_gradients.push_back(all[inputs_.size() + i]);
    }
    std::vector<Tensor> gradients(wanted.size());
    if (!outputs.empty() && !wanted.empty()) {
      gradients = torch::autograd::grad(outputs, wanted, output_gradients, /*retain_graph=*/c10::nullopt,
                                        /*create_graph=*/false, /*allow_unused=*/true);
    }
    if (optimizer_) on_backward(std::span(gradients).subspan(float_inputs));

    std::vector<Tensor> input_gradients;
    std::size_t next = 0;
    for (const Tensor& input : inputs) {
      const bool computed = input.is_floating_point() && gradients[next].defined();
      input_gradients.push_back(computed ? gradients[next] : at::zeros_like(input));
      if (input.is_floating_point()) ++next;
    }
    return input_gradients;
  }

 private:
  /// One step of the optimizer with the gradients of the parameters, which no later step sees again.
  void on_backward(std::span<const Tensor> gradients) {
    for (std::size_t i = 0; i < parameters_.size(); ++i) parameters_[i].mutable_grad() = gradients[i];
    optimizer_->step();
    for (Tensor& parameter : parameters_) parameter.mutable_grad().reset();
    updates_.fetch_add(1, std::memory_order_relaxed);
  }

  void check_count(std::size_t given, std::size_t expected) const {
    if (given == expected) return;
    throw Error(errc::invalid_argument,
                "expert " + uid_ + " got " + std::to_string(given) + " tensors, expected " + std::to_string(expected));
  }

  /// Calls the module with tensors in wire order.
  [[nodiscard]] Returned apply(const std::vector<Tensor>& inputs) {
    if constexpr (keywords == 0) {
      return call(inputs);
    } else {
      std::vector<Tensor> in_order(inputs.size());
      for (std::size_t i = 0; i < inputs.size(); ++i) in_order[parameter_position_[i]] = inputs[i];
      return call(in_order);
    }
  }
  [[nodiscard]] Returned call(std::span<const Tensor> tensors) {
    return std::apply([this](auto&&... arguments) { return module_->forward(std::move(arguments)...); },
                      pack_tensors<Arguments>(tensors));
  }

  /// On the wire keyword inputs come after all others, sorted by name.
  void read_wire_order() {
    parameter_position_.resize(tensor_count<Arguments>);
    std::iota(parameter_position_.begin(), parameter_position_.end(), std::size_t{0});
    if constexpr (keywords > 0) {
      for (const auto& name : Expert<M>::keyword_names) schema_.keyword_names.emplace_back(name);
      []<std::size_t... I>(std::index_sequence<I...>) {
        static_assert((std::same_as<std::tuple_element_t<positional + I, Arguments>, Tensor> && ...),
                      "skep: a keyword input of an expert is one tensor");
      }(std::make_index_sequence<keywords>());
      const auto first = parameter_position_.end() - static_cast<std::ptrdiff_t>(keywords);
      const std::size_t offset = parameter_position_.size() - keywords;
      std::ranges::sort(first, parameter_position_.end(), {},
                        [&](std::size_t i) -> const std::string& { return schema_.keyword_names[i - offset]; });
    }
  }

  void make_schema(const std::vector<Tensor>& sample, const BackendOptions& options) {
    constexpr std::int64_t dummy_batch_size = 3;
    std::vector<BatchTensorDescriptor> by_parameter;
    for (const Tensor& one : sample) {
      by_parameter.push_back({one.sizes().vec(), one.scalar_type(), one.requires_grad()});
      set_compression(by_parameter.back(), options.compression);
    }
    std::span<const BatchTensorDescriptor> all(by_parameter);
    const std::size_t arguments = by_parameter.size() - keywords;
    schema_.args = args_tree(all.first(arguments), std::make_index_sequence<positional>());
    std::vector<SchemaTree> named(by_parameter.begin() + static_cast<std::ptrdiff_t>(arguments), by_parameter.end());
    schema_.kwargs = SchemaTree::dict(schema_.keyword_names, std::move(named));
    inputs_ = schema_.inputs();

    std::vector<Tensor> zeros;
    for (const auto& input : inputs_) zeros.push_back(input.make_zeros(dummy_batch_size));
    try {
      const at::AutoGradMode with_gradients(true);
      for (const Tensor& output : flat_tensors(apply(zeros))) {
        if (output.dim() == 0 || output.size(0) != dummy_batch_size) {
          throw Error(errc::invalid_argument, "its outputs do not keep the batch in their first dimension");
        }
        outputs_.push_back(BatchTensorDescriptor::of_batch(output));
        set_compression(outputs_.back(), options.compression);
      }
    } catch (const std::exception& e) {
      throw Error(errc::invalid_argument, "expert " + uid_ + " (" + class_name_ +
                                              ") cannot compute the sample that its description gives: " + e.what());
    }
    schema_.outputs = tree_of<Returned, BatchTensorDescriptor>(outputs_);
  }
  static void set_compression(BatchTensorDescriptor& to, Compression compression) {
    const bool takes_it =
        at::isFloatingType(*to.dtype) && !(compression == Compression::float16 && *to.dtype == at::kBFloat16);
    if (takes_it) to.compression = compression;
  }
  template <std::size_t... I>
  static SchemaTree args_tree(std::span<const BatchTensorDescriptor> leaves, std::index_sequence<I...>) {
    std::vector<SchemaTree> items;
    std::size_t next = 0;
    const auto add = [&]<class Argument>() {
      items.push_back(tree_of<Argument, BatchTensorDescriptor>(leaves.subspan(next, tensor_count<Argument>)));
      next += tensor_count<Argument>;
    };
    (add.template operator()<std::tuple_element_t<I, Arguments>>(), ...);
    return SchemaTree::tuple(std::move(items));
  }

  std::string uid_;
  M module_;
  std::string class_name_;
  ExpertSchema schema_;
  std::vector<BatchTensorDescriptor> inputs_;    // in wire order
  std::vector<BatchTensorDescriptor> outputs_;   // in wire order
  std::vector<std::size_t> parameter_position_;  // of the tensors in wire order
  std::vector<Tensor> parameters_;
  std::int64_t parameter_count_ = 0;
  std::unique_ptr<torch::optim::Optimizer> optimizer_;
  std::atomic<std::uint64_t> updates_ = 0;
};

}  // namespace detail

}  // namespace skep::inline v0::moe
