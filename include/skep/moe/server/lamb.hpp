// Lamb: Adam whose step is as long, for each layer, as that layer's parameters are large; for large batches.
#pragma once

#include <cmath>

#include "skep/moe/server/optimizer_state.hpp"
#include "skep/moe/tensor/torch.hpp"

namespace skep::inline v0::moe {

/// LAMB (You et al., 2020, algorithm 2): Adam's direction plus the decayed weights, scaled to the norm of the
/// parameter. A parameter or direction of norm 0 is not scaled. Options, state and archives are LibTorch's Adam's;
/// AMSGrad is not looked at.
class Lamb : public torch::optim::Adam {
 public:
  using torch::optim::Adam::Adam;

  Tensor step(LossClosure closure = nullptr) override {
    Tensor loss;
    if (closure != nullptr) {
      const at::AutoGradMode with_gradients(true);
      loss = closure();
    }
    const at::NoGradGuard no_grad;
    for (auto& group : param_groups()) {
      const auto& options = static_cast<const torch::optim::AdamOptions&>(group.options());
      for (Tensor& parameter : group.params()) {
        if (parameter.grad().defined()) step_one(parameter, options);
      }
    }
    return loss;
  }

 private:
  void step_one(Tensor& parameter, const torch::optim::AdamOptions& options) {
    auto& state = detail::adam_state(*this, parameter);
    state.step(state.step() + 1);
    const auto [beta1, beta2] = options.betas();
    const auto t = static_cast<double>(state.step());
    const Tensor& gradient = parameter.grad();
    state.exp_avg().mul_(beta1).add_(gradient, 1 - beta1);
    state.exp_avg_sq().mul_(beta2).addcmul_(gradient, gradient, 1 - beta2);

    const Tensor root = (state.exp_avg_sq() / (1 - std::pow(beta2, t))).sqrt_().add_(options.eps());
    Tensor direction = (state.exp_avg() / (1 - std::pow(beta1, t))).div_(root);
    if (options.weight_decay() != 0) direction.add_(parameter, options.weight_decay());
    const double parameter_norm = parameter.norm().item<double>();
    const double direction_norm = direction.norm().item<double>();
    const double trust = parameter_norm > 0 && direction_norm > 0 ? parameter_norm / direction_norm : 1;
    parameter.add_(direction, -options.lr() * trust);
  }
};

}  // namespace skep::inline v0::moe
