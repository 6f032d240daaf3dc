// Optimizers by name: the factories that give every expert an optimizer of its own.
#pragma once

#include <concepts>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "skep/core/error.hpp"
#include "skep/moe/server/fused_adam.hpp"
#include "skep/moe/server/lamb.hpp"
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
  return make_optimizer<FusedAdam>(torch::optim::AdamOptions(learning_rate));
}
[[nodiscard]] inline OptimizerFactory adamw(double learning_rate = 1e-3) {
  return make_optimizer<torch::optim::AdamW>(torch::optim::AdamWOptions(learning_rate));
}
[[nodiscard]] inline OptimizerFactory sgd(double learning_rate = 0.01) {
  return make_optimizer<torch::optim::SGD>(torch::optim::SGDOptions(learning_rate));
}
[[nodiscard]] inline OptimizerFactory lamb(double learning_rate = 1e-3) {
  return make_optimizer<Lamb>(torch::optim::AdamOptions(learning_rate).weight_decay(0.01));
}
/// Experts answer but do not learn.
[[nodiscard]] inline OptimizerFactory no_optimizer() {
  return [](const std::vector<Tensor>&) { return nullptr; };
}

/// "adam", "adamw", "lamb" (1e-3), "sgd" (0.01) or "none", as `--optimizer` takes them.
/// @param learning_rate  instead of the one above
/// Throws errc::invalid_argument for other names.
[[nodiscard]] inline OptimizerFactory optimizer_of_name(std::string_view name,
                                                        std::optional<double> learning_rate = {}) {
  if (name == "adam") return adam(learning_rate.value_or(1e-3));
  if (name == "adamw") return adamw(learning_rate.value_or(1e-3));
  if (name == "sgd") return sgd(learning_rate.value_or(0.01));
  if (name == "lamb") return lamb(learning_rate.value_or(1e-3));
  if (name == "none") return no_optimizer();
  throw Error(errc::invalid_argument,
              "\"" + printable(name) + "\" is no optimizer: adam, adamw, sgd, lamb and none are");
}

}  // namespace skep::inline v0::moe
