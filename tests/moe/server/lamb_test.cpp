#include "skep/moe/server/lamb.hpp"

#include <cmath>

// doctest comes last: LibTorch's CHECK must not hide its own
#include <doctest/doctest.h>

using skep::moe::Lamb;
using torch::optim::AdamOptions;

TEST_CASE("LAMB's step is as long as the parameter is large, times the rate") {
  const auto parameter = torch::tensor({3.0, 4.0}).requires_grad_();  // of norm 5
  Lamb lamb({parameter}, AdamOptions(0.1).eps(0));
  parameter.mutable_grad() = torch::tensor({2.0, -7.0});  // Adam's first direction is its sign, of norm sqrt(2)
  lamb.step();
  const double step = 0.1 * 5 / std::sqrt(2.0);
  CHECK(at::allclose(parameter, torch::tensor({3 - step, 4 + step})));
}

TEST_CASE("LAMB decays the weights inside the direction, and starts from zeros as Adam does") {
  const auto decayed = torch::tensor({3.0, 4.0}).requires_grad_(), zero = torch::zeros({2}).requires_grad_();
  const auto still = torch::ones({2}).requires_grad_();
  Lamb lamb({decayed, zero, still}, AdamOptions(0.1).eps(0).weight_decay(1));
  decayed.mutable_grad() = torch::tensor({1.0, 1.0});  // direction (1 + 3, 1 + 4)
  zero.mutable_grad() = torch::tensor({1.0, -1.0});
  lamb.step();
  const double trust = 5 / std::sqrt(41.0);
  CHECK(at::allclose(decayed, torch::tensor({3 - 0.1 * trust * 4, 4 - 0.1 * trust * 5})));
  CHECK(at::allclose(zero, torch::tensor({-0.1, 0.1})));
  CHECK(at::equal(still, torch::ones({2})));
}
