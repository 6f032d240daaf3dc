// ComputedModule: a module whose types are forgotten, and how its schema is found.
#pragma once

#include <cstdint>
#include <exception>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "skep/core/error.hpp"
#include "skep/moe/server/compute_guards.hpp"
#include "skep/moe/server/expert_state.hpp"
#include "skep/moe/tensor/schema.hpp"
#include "skep/moe/tensor/tensor_tree.hpp"

namespace skep::inline v0::moe {

/// A module whose types are forgotten: it computes flat inputs in wire order to flat outputs.
struct ComputedModule {
  std::string class_name = {};
  ExpertSchema schema = {};
  std::function<std::vector<Tensor>(std::span<const Tensor>)> compute = {};
  NamedTensors parameters{};
  NamedTensors buffers{};
};

namespace detail {

/// The words of an exception, to be told by somebody else: LibTorch's without where it was, ours without the prefix.
[[nodiscard]] inline std::string what_of(const std::exception& e) {
  const auto* torch_error = dynamic_cast<const c10::Error*>(&e);
  const std::string text(without_prefix(torch_error != nullptr ? torch_error->what_without_backtrace() : e.what()));
  return text.substr(0, text.find_last_not_of('\n') + 1);
}
/// The same error, told with who met it.
[[nodiscard]] inline Error in_context(const std::string& who, const Error& e) {
  return {e.code(), who + ": " + what_of(e)};
}

/// Replaces the tensors of a tree by what describes them.
template <class Describe>
[[nodiscard]] SchemaTree describe_tree(const TensorTree& tree, Describe&& describe) {
  std::vector<BatchTensorDescriptor> leaves;
  tree.visit([&](const Tensor& tensor) { leaves.push_back(describe(tensor)); });
  return *tree.template pack<BatchTensorDescriptor>(std::span<const BatchTensorDescriptor>(leaves));
}

inline void set_compression(BatchTensorDescriptor& to, Compression compression) {
  if (takes(compression, *to.dtype)) to.compression = compression;
}
/// The schema of an input from one sample of it.
[[nodiscard]] inline SchemaTree schema_of_sample(const TensorTree& sample, Compression compression) {
  return describe_tree(sample, [&](const Tensor& one) {
    BatchTensorDescriptor descriptor{one.sizes().vec(), one.scalar_type(), one.requires_grad()};
    set_compression(descriptor, compression);
    return descriptor;
  });
}

/// Runs a module on zeros to learn what it gives; neither its buffers nor the random numbers are changed by that.
/// @param compute  from flat inputs in wire order to a TensorTree
/// Throws errc::invalid_argument when it cannot compute them.
template <class Compute>
[[nodiscard]] SchemaTree schema_of_outputs(const std::string& uid, const ComputedModule& module, Compute&& compute,
                                           Compression compression) {
  constexpr std::int64_t dummy_batch_size = 3;
  std::vector<Tensor> zeros;
  for (const auto& input : module.schema.inputs()) zeros.push_back(input.make_zeros(dummy_batch_size));
  const BufferGuard buffers(module.buffers.values());
  const RandomGuard random;
  const at::AutoGradMode with_gradients(true);
  try {
    const TensorTree outputs = compute(std::span<const Tensor>(zeros));
    return describe_tree(outputs, [&](const Tensor& output) {
      if (output.dim() == 0 || output.size(0) != dummy_batch_size) {
        throw Error(errc::invalid_argument, "its outputs do not keep the batch in their first dimension");
      }
      auto descriptor = BatchTensorDescriptor::of_batch(output);
      set_compression(descriptor, compression);
      return descriptor;
    });
  } catch (const std::exception& e) {
    throw Error(errc::invalid_argument, "expert " + uid + " (" + module.class_name +
                                            ") cannot compute the sample that its description gives: " + what_of(e));
  }
}

/// The module with its parameters and buffers on a device; what it is given and gives stays on the CPU.
/// Throws errc::invalid_argument for a device that this LibTorch does not know.
[[nodiscard]] inline ComputedModule on_device(const std::string& uid, ComputedModule module, at::Device device) {
  if (device.is_cpu()) return module;
  if (device.is_cuda() && !at::hasCUDA()) {
    throw Error(errc::invalid_argument,
                "expert " + uid + ": this LibTorch knows no CUDA, so it cannot live on " + device.str() + "; give cpu");
  }
  const at::NoGradGuard no_grad;
  for (NamedTensors* tensors : {&module.parameters, &module.buffers}) {
    for (auto& item : *tensors) item.value().set_data(item.value().to(device));
  }
  module.compute = [compute = std::move(module.compute), device](std::span<const Tensor> inputs) {
    std::vector<Tensor> there;
    for (const Tensor& input : inputs) there.push_back(input.to(device));
    std::vector<Tensor> outputs = compute(there);
    for (Tensor& output : outputs) output = output.to(at::kCPU);
    return outputs;
  };
  return module;
}

}  // namespace detail

}  // namespace skep::inline v0::moe
