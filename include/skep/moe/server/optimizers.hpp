// Optimizers by name: the factories that give every expert an optimizer of its own.
#pragma once

#include <concepts>
#include <functional>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "skep/core/error.hpp"
#include "skep/moe/server/fused_adam.hpp"
#include "skep/moe/tensor/torch.hpp"

namespace skep::inline v0::moe {

/// Makes the optimizer of one expert's parameters; null where the expert shall not be trained.
using OptimizerFactory = std::function<std::unique_ptr<torch::optim::Optimizer>(std::vector<Tensor> parameters)>;

/// Any optimizer, with what it takes besides the parameters:
///
///     {.optimizer = make_optimizer<torch::optim::RMSprop>(torch::optim::RMSpropOptions(0.01))}
template <std::derived_from<torch::optim::Optimizer> Optimizer, std::copy_constructible... Options>
  requires std::constructible_from<Optimizer, std::vector<Tensor>, Options...>
[[nodiscard]] OptimizerFactory make_optimizer(Options... options) {
  return [=](std::vector<Tensor> parameters) { return std::make_unique<Optimizer>(std::move(parameters), options...); };
}
[[nodiscard]] inline OptimizerFactory adam(double learning_rate = 1e-3) {
  return [learning_rate](std::vector<Tensor> parameters) {
    return std::make_unique<FusedAdam>(std::move(parameters), torch::optim::AdamOptions(learning_rate));
  };
}
[[nodiscard]] inline OptimizerFactory sgd(double learning_rate = 0.01) {
  return [learning_rate](std::vector<Tensor> parameters) {
    return std::make_unique<torch::optim::SGD>(std::move(parameters), torch::optim::SGDOptions(learning_rate));
  };
}
/// Experts answer but do not learn.
[[nodiscard]] inline OptimizerFactory no_optimizer() {
  return [](const std::vector<Tensor>&) { return nullptr; };
}

/// "adam" (1e-3), "sgd" (0.01) or "none", as `--optimizer` takes them. Throws errc::invalid_argument for others.
[[nodiscard]] inline OptimizerFactory optimizer_of_name(std::string_view name) {
  if (name == "adam") return adam();
  if (name == "sgd") return sgd();
  if (name == "none") return no_optimizer();
  throw Error(errc::invalid_argument, "\"" + printable(name) + "\" is no optimizer: adam, sgd and none are");
}

}  // namespace skep::inline v0::moe
