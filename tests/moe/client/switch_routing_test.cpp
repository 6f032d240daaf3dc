#include "skep/moe/client/switch_routing.hpp"

#include <limits>

#include "support/experts.hpp"
// doctest comes last
#include <doctest/doctest.h>

using namespace skep::moe;
using skep::test::peer;
using torch::Tensor;

TEST_CASE("B7.1, H-14: jitter is bounded and leaves what it was given alone") {
  torch::manual_seed(1);
  const Tensor x = torch::ones({64, 8});
  const Tensor noisy = jitter(x, 0.01);
  CHECK(x.equal(torch::ones({64, 8})));
  CHECK_FALSE(noisy.equal(x));
  CHECK((noisy - 1).abs().max().item<float>() <= 0.01F + 1e-6F);
}

TEST_CASE("B7.2 grid dropout keeps each coordinate with the given probability, for the whole batch, and never none") {
  torch::manual_seed(2);
  const Tensor scores = torch::zeros({3, 1000});
  const Tensor kept = drop_coordinates({scores}, 0.7)[0];
  const Tensor dropped = kept.isinf();
  CHECK(dropped[0].equal(dropped[2]));
  CHECK(dropped[0].sum().item<int64_t>() > 230);
  CHECK(dropped[0].sum().item<int64_t>() < 370);
  for (int i = 0; i < 50; ++i) {
    const Tensor few = drop_coordinates({torch::zeros({2, 3})}, 1e-9)[0];
    CHECK(few.softmax(-1).isfinite().all().item<bool>());
  }
  CHECK(drop_coordinates({scores}, 1.0)[0].equal(scores));
}

namespace {

/// Three samples: two to ffn.1.0, one to ffn.0.1.
MixturePass three_samples(std::vector<bool> alive) {
  ExpertChoice choice;
  choice.experts = {{"ffn.1.0", peer(1)}, {"ffn.0.1", peer(1)}};
  choice.chosen = {0, 0, 1};
  choice.offsets = {0, 1, 2, 3};
  MixturePass pass = MixturePass::make(std::move(choice), nullptr);
  pass.alive = std::move(alive);
  return pass;
}

}  // namespace

TEST_CASE("B7.7 utilization counts the coordinates of experts that answered, each dimension apart") {
  const Tensor all = batch_utilization(three_samples({true, true}), {2, 2});
  CHECK(all.allclose(torch::tensor({1 / 3.F, 2 / 3.F, 2 / 3.F, 1 / 3.F})));
  const Tensor one = batch_utilization(three_samples({false, true}), {2, 2});
  CHECK(one.allclose(torch::tensor({1.F, 0.F, 0.F, 1.F})));
  CHECK_FALSE(batch_utilization(three_samples({false, false}), {2, 2}).defined());
}

TEST_CASE("B7.8, B7.9, H-2: the balancing loss is 1 a dimension when even, and its gradient pushes load down") {
  const Tensor even = torch::cat({torch::full({4}, 0.25), torch::full({2}, 0.5)});
  const Tensor softmax4 = torch::full({8, 4}, 0.25);
  const Tensor softmax2 = torch::full({8, 2}, 0.5);
  CHECK(balancing_loss({softmax4, softmax2}, even).item<float>() == doctest::Approx(2));

  const Tensor used = torch::tensor({0.7F, 0.1F, 0.1F, 0.1F, 0.5F, 0.5F});
  const Tensor scores = torch::zeros({8, 4}).requires_grad_();
  balancing_loss({scores.softmax(-1), softmax2}, used).backward();
  for (int64_t i = 1; i < 4; ++i) CHECK(scores.grad()[0][i].item<float>() < 0);  // descent raises them
  CHECK(scores.grad()[0][0].item<float>() > 1e-3F);                              // and lowers the overused one
}
