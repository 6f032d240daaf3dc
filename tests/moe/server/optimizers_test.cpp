#include "skep/moe/server/optimizers.hpp"

// doctest comes last: LibTorch's CHECK must not hide its own
#include <doctest/doctest.h>

using namespace skep::moe;  // NOLINT(*-using-namespace)

namespace {
// Five steps on a parabola, by an optimizer of ours and by LibTorch's.
template <class Optimizer>
void compare(const OptimizerFactory& factory, Optimizer theirs_of(std::vector<Tensor>)) {
  const auto start = torch::randn({7, 5});
  const auto mine = start.clone().requires_grad_();
  const auto theirs = start.clone().requires_grad_();
  const auto optimizer = factory({mine});
  auto reference = theirs_of({theirs});
  for (int i = 0; i < 5; ++i) {
    mine.mutable_grad() = (mine.detach() * 2 + 1);
    theirs.mutable_grad() = (theirs.detach() * 2 + 1);
    optimizer->step();
    reference.step();
  }
  CHECK(at::allclose(mine, theirs, 1e-6, 1e-7));
  CHECK_FALSE(at::allclose(mine, start));
}
}  // namespace

TEST_CASE("D1 optimizers of a name step as LibTorch's with Hivemind's learning rates, none is none") {
  compare<torch::optim::Adam>(optimizer_of_name("adam"), [](std::vector<Tensor> p) {
    return torch::optim::Adam(std::move(p), torch::optim::AdamOptions(1e-3));
  });
  compare<torch::optim::SGD>(optimizer_of_name("sgd"), [](std::vector<Tensor> p) {
    return torch::optim::SGD(std::move(p), torch::optim::SGDOptions(0.01));
  });
  compare<torch::optim::AdamW>(optimizer_of_name("adamw", 0.1), [](std::vector<Tensor> p) {
    return torch::optim::AdamW(std::move(p), torch::optim::AdamWOptions(0.1));
  });
  compare<Lamb>(optimizer_of_name("lamb"), [](std::vector<Tensor> p) {
    return Lamb(std::move(p), torch::optim::AdamOptions(1e-3).weight_decay(0.01));
  });
  CHECK(optimizer_of_name("none")({torch::ones({1})}) == nullptr);
}

TEST_CASE("D1 an unknown optimizer is a sentence") {
  CHECK_THROWS_WITH_AS((void)optimizer_of_name("lion"),
                       "skep: \"lion\" is no optimizer: adam, adamw, sgd, lamb and none are", skep::Error);
}

TEST_CASE("any optimizer of LibTorch or of the user can be named by its type") {
  const auto parameter = torch::ones({2}).requires_grad_();
  const auto optimizer = make_optimizer<torch::optim::SGD>(torch::optim::SGDOptions(0.5).momentum(0.9))({parameter});
  parameter.mutable_grad() = torch::ones({2});
  optimizer->step();
  CHECK(at::equal(parameter, torch::full({2}, 0.5)));
}
