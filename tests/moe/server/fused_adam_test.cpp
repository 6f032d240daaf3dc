#include "skep/moe/server/fused_adam.hpp"

// doctest comes last: LibTorch's CHECK must not hide its own
#include <doctest/doctest.h>

using skep::moe::FusedAdam;
using skep::moe::Tensor;
using torch::optim::AdamOptions;

namespace {
/// Twenty steps of both from the same start with the same gradients.
void compare(const AdamOptions& options, const Tensor& start) {
  const auto mine = start.clone().requires_grad_(), theirs = start.clone().requires_grad_();
  FusedAdam fused({mine}, options);
  torch::optim::Adam reference({theirs}, options);
  for (int i = 0; i < 20; ++i) {
    const auto gradient = torch::randn_like(start);
    mine.mutable_grad() = gradient;
    theirs.mutable_grad() = gradient.clone();
    fused.step();
    reference.step();
  }
  CHECK(at::allclose(mine, theirs, 1e-5, 1e-6));
  CHECK_FALSE(at::allclose(mine, start, 1e-3, 1e-3));
  CHECK(fused.state().size() == 1);
}
}  // namespace

TEST_CASE("FusedAdam steps as LibTorch's Adam does") {
  torch::manual_seed(3);
  compare(AdamOptions(1e-2), torch::randn({7, 5}));  // 35 numbers: whole vectors and a rest
  compare(AdamOptions(1e-2).betas({0.8, 0.9}).eps(1e-3).weight_decay(0.1), torch::randn({64}));
  compare(AdamOptions(1e-2).amsgrad(true), torch::randn({7, 5}));
  compare(AdamOptions(1e-2), torch::randn({7, 5}).t());
  compare(AdamOptions(1e-2), torch::randn({3}, at::kDouble));
}

TEST_CASE("FusedAdam skips parameters without a gradient and empty ones") {
  const auto with = torch::ones({3}).requires_grad_(), without = torch::ones({3}).requires_grad_();
  const auto empty = torch::ones({0}).requires_grad_();
  FusedAdam adam({with, without, empty}, AdamOptions(0.1));
  with.mutable_grad() = torch::ones({3});
  empty.mutable_grad() = torch::ones({0});
  adam.step();
  CHECK(at::allclose(with, torch::full({3}, 0.9)));
  CHECK(at::equal(without, torch::ones({3})));
}

TEST_CASE("FusedAdam keeps its state where LibTorch's Adam finds it") {
  const auto parameter = torch::ones({5}).requires_grad_();
  FusedAdam fused({parameter}, AdamOptions(0.1));
  parameter.mutable_grad() = torch::ones({5});
  fused.step();
  fused.torch::optim::Adam::step();
  CHECK(fused.state().size() == 1);
  const auto& state = static_cast<const torch::optim::AdamParamState&>(*fused.state().begin()->second);
  CHECK(state.step() == 2);
  CHECK(at::allclose(parameter, torch::full({5}, 0.8)));
}
