// ExpertCore: what forward and backward compute, whatever calls the module: checks, re-computation, steps, state.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "skep/core/error.hpp"
#include "skep/core/fair_mutex.hpp"
#include "skep/core/log.hpp"
#include "skep/moe/server/backend_options.hpp"
#include "skep/moe/server/compute_guards.hpp"
#include "skep/moe/server/computed_module.hpp"
#include "skep/moe/server/expert_state.hpp"
#include "skep/moe/server/finite.hpp"
#include "skep/moe/server/trainer.hpp"
#include "skep/moe/tensor/schema.hpp"

namespace skep::inline v0::moe {

/// An expert without its queues: forward and backward over a module, what they may change, and the state.
///
/// Forward leaves everything as it was, buffers included, so that a request which is repeated, evaluated or never
/// trained upon changes no statistics. Backward computes the outputs anew from the same buffers; what this does to them
/// stays when the gradients are taken for training, so each trained sample counts once.
/// *Threads:* any; one computes at a time, and `state` and `load_state` come between two batches.
class ExpertCore {
 public:
  /// Throws errc::invalid_argument when the options do not fit, or ask for a device that is not there.
  ExpertCore(std::string uid, ComputedModule module, const BackendOptions& options)
      : uid_(std::move(uid)),
        module_(detail::on_device(uid_, std::move(module), options.device)),
        inputs_(module_.schema.inputs()),
        outputs_(module_.schema.flat_outputs()),
        max_batch_size_(static_cast<std::int64_t>(options.max_batch_size)),
        trainer_(trained_parameters(module_.parameters), options) {
    for (const TrainedParameter& parameter : trainer_.parameters()) parameter_count_ += parameter.tensor.numel();
  }

  [[nodiscard]] const std::string& uid() const noexcept { return uid_; }
  [[nodiscard]] const std::string& class_name() const noexcept { return module_.class_name; }
  [[nodiscard]] const ExpertSchema& schema() const noexcept { return module_.schema; }
  [[nodiscard]] const std::vector<BatchTensorDescriptor>& inputs() const noexcept { return inputs_; }
  [[nodiscard]] const std::vector<BatchTensorDescriptor>& outputs() const noexcept { return outputs_; }
  [[nodiscard]] std::int64_t parameter_count() const noexcept { return parameter_count_; }
  [[nodiscard]] Trainer& trainer() noexcept { return trainer_; }
  [[nodiscard]] const Trainer& trainer() const noexcept { return trainer_; }

  [[nodiscard]] std::vector<Tensor> forward(std::span<const Tensor> inputs) {
    (void)samples_of(inputs, inputs_.size());
    const std::lock_guard turn(turn_);
    const BufferGuard buffers(module_.buffers.values());
    const at::NoGradGuard no_grad;
    return compute(inputs);
  }

  [[nodiscard]] std::vector<Tensor> backward(std::span<const Tensor> all) {
    const std::int64_t samples = samples_of(all, inputs_.size() + outputs_.size());
    check_gradients(all.subspan(inputs_.size()));
    const std::lock_guard turn(turn_);
    BufferGuard buffers(module_.buffers.values());
    RandomGuard random;
    GradientSum sum;
    std::vector<std::vector<Tensor>> input_gradients;
    for (std::int64_t begin = 0; begin < samples; begin += max_batch_size_) {
      const std::int64_t rows = std::min(max_batch_size_, samples - begin);
      std::vector<Tensor> part(all.begin(), all.end());
      if (rows != samples) {
        for (Tensor& tensor : part) tensor = tensor.narrow(0, begin, rows);
      }
      input_gradients.push_back(backward_part(part, sum));
    }
    if (trainer_.trains()) {
      train(sum.take(), samples);
      buffers.keep();
    }
    random.keep();
    return joined(std::move(input_gradients));
  }

  void on_backward(std::int64_t samples) {
    const std::lock_guard turn(turn_);
    trainer_.on_backward(samples);
  }

  [[nodiscard]] ExpertState state() {
    const std::lock_guard turn(turn_);
    const at::NoGradGuard no_grad;
    ExpertState state;
    for (const auto& [name, tensor] : module_.parameters.pairs())
      state.parameters.insert(name, detail::copy_of(tensor));
    for (const auto& [name, tensor] : module_.buffers.pairs()) state.buffers.insert(name, detail::copy_of(tensor));
    trainer_.save(state);
    return state;
  }
  void load_state(const ExpertState& state) {
    {
      const std::lock_guard turn(turn_);
      const at::NoGradGuard no_grad;
      try {
        check_tensors(module_.parameters, state.parameters, "parameter");
        check_tensors(module_.buffers, state.buffers, "buffer");
        trainer_.prepare_load(state)();
      } catch (const Error& e) {
        throw detail::in_context("expert " + uid_ + " cannot take the state", e);
      }
      for (auto& item : module_.parameters) item.value().copy_(state.parameters[item.key()]);
      for (auto& item : module_.buffers) item.value().copy_(state.buffers[item.key()]);
    }
    if (trainer_.trains() && !state.optimizer) {
      log(LogLevel::warning, "server", "Optimizer state missing for " + uid_);
    }
  }

 private:
  [[nodiscard]] static std::vector<TrainedParameter> trained_parameters(const NamedTensors& parameters) {
    std::vector<TrainedParameter> trained;
    std::int64_t position = 0;
    for (const auto& [name, tensor] : parameters.pairs()) {
      if (tensor.requires_grad()) trained.push_back({position, name, tensor});
      ++position;
    }
    return trained;
  }

  /// The batch of a request. Throws errc::invalid_argument when it is no batch, or has not so many tensors.
  [[nodiscard]] std::int64_t samples_of(std::span<const Tensor> tensors, std::size_t expected) const {
    if (tensors.size() != expected) {
      throw Error(errc::invalid_argument, "expert " + uid_ + " got " + std::to_string(tensors.size()) +
                                              " tensors, expected " + std::to_string(expected));
    }
    if (tensors[0].dim() == 0 || tensors[0].size(0) == 0) {
      throw Error(errc::invalid_argument, "Batch should contain more than 0 samples");
    }
    return tensors[0].size(0);
  }
  void check_gradients(std::span<const Tensor> gradients) {
    for (std::size_t i = 0; i < gradients.size(); ++i) {
      if (all_finite(gradients[i])) continue;
      trainer_.count_refused();
      throw Error(errc::invalid_argument,
                  "expert " + uid_ + " refused the request: output gradient " + std::to_string(i) + " is not finite");
    }
  }
  [[nodiscard]] std::vector<Tensor> compute(std::span<const Tensor> inputs) const {
    std::vector<Tensor> outputs;
    try {
      outputs = module_.compute(inputs);
    } catch (const c10::Error& e) {
      throw Error(errc::invalid_argument, "expert " + uid_ + " cannot compute the request: " + detail::what_of(e));
    }
    if (outputs.size() == outputs_.size()) return outputs;
    throw Error(errc::invalid_argument, "expert " + uid_ + " computed " + std::to_string(outputs.size()) +
                                            " outputs, its schema says " + std::to_string(outputs_.size()));
  }

  /// Computes the outputs anew, adds the gradients of the parameters to `sum`, and gives those of the inputs.
  [[nodiscard]] std::vector<Tensor> backward_part(std::span<const Tensor> all, GradientSum& sum) {
    const at::AutoGradMode with_gradients(true);
    std::vector<Tensor> inputs;
    std::vector<Tensor> wanted;  // what gradients are computed for: float inputs, and parameters when they are trained
    for (const Tensor& given : all.first(inputs_.size())) {
      Tensor input = given.detach();
      if (input.is_floating_point()) wanted.push_back(input.requires_grad_());
      inputs.push_back(std::move(input));
    }
    const std::size_t float_inputs = wanted.size();
    if (trainer_.trains()) {
      for (const TrainedParameter& parameter : trainer_.parameters()) wanted.push_back(parameter.tensor);
    }

    std::vector<Tensor> outputs;
    std::vector<Tensor> output_gradients;
    const std::vector<Tensor> results = compute(inputs);
    for (std::size_t i = 0; i < results.size(); ++i) {
      if (!results[i].requires_grad()) continue;
      outputs.push_back(results[i]);
      output_gradients.push_back(all[inputs_.size() + i].to(results[i].options()));
    }
    std::vector<Tensor> gradients(wanted.size());
    if (!outputs.empty() && !wanted.empty()) {
      gradients = torch::autograd::grad(outputs, wanted, output_gradients, /*retain_graph=*/c10::nullopt,
                                        /*create_graph=*/false, /*allow_unused=*/true);
    }
    {
      const at::NoGradGuard no_grad;
      sum.add(std::span(gradients).subspan(float_inputs));
    }
    std::vector<Tensor> input_gradients;
    std::size_t next = 0;
    for (const Tensor& input : inputs) {
      const bool computed = input.is_floating_point() && gradients[next].defined();
      input_gradients.push_back(computed ? gradients[next] : at::zeros_like(input));
      if (input.is_floating_point()) ++next;
    }
    return input_gradients;
  }
  void train(std::vector<Tensor> gradients, std::int64_t samples) {
    for (std::size_t i = 0; i < gradients.size(); ++i) {
      Tensor parameter = trainer_.parameters()[i].tensor;
      parameter.mutable_grad() = std::move(gradients[i]);
    }
    try {
      trainer_.on_backward(samples);
    } catch (const Error& e) {
      throw detail::in_context("expert " + uid_ + " refused the request", e);
    }
  }
  [[nodiscard]] static std::vector<Tensor> joined(std::vector<std::vector<Tensor>> parts) {
    if (parts.size() == 1) return std::move(parts.front());
    const at::NoGradGuard no_grad;
    std::vector<Tensor> whole;
    for (std::size_t i = 0; i < parts.front().size(); ++i) {
      std::vector<Tensor> same;
      for (const auto& part : parts) same.push_back(part[i]);
      whole.push_back(at::cat(same, 0));
    }
    return whole;
  }

  static void check_tensors(const NamedTensors& mine, const NamedTensors& theirs, const std::string& kind) {
    for (const auto& item : mine) {
      const Tensor* tensor = theirs.find(item.key());
      const Tensor& expected = item.value();
      if (tensor == nullptr) throw Error(errc::invalid_argument, "it has no " + kind + " \"" + item.key() + "\"");
      if (tensor->sizes() != expected.sizes() || tensor->scalar_type() != expected.scalar_type()) {
        throw Error(errc::invalid_argument,
                    kind + " \"" + item.key() + "\" is " + describe_tensor(tensor->sizes(), tensor->scalar_type()) +
                        ", expected " + describe_tensor(expected.sizes(), expected.scalar_type()));
      }
    }
    for (const auto& item : theirs) {
      if (mine.contains(item.key())) continue;
      throw Error(errc::invalid_argument, "the expert has no " + kind + " \"" + printable(item.key()) + "\"");
    }
  }

  std::string uid_;
  ComputedModule module_;
  std::vector<BatchTensorDescriptor> inputs_;   // in wire order
  std::vector<BatchTensorDescriptor> outputs_;  // in wire order
  std::int64_t max_batch_size_;
  Trainer trainer_;
  std::int64_t parameter_count_ = 0;
  FairMutex turn_;
};

}  // namespace skep::inline v0::moe
