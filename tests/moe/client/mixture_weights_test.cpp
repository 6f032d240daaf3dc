#include "skep/moe/client/mixture_weights.hpp"

#include <cmath>
#include <limits>

#include "support/experts.hpp"
// doctest comes last
#include <doctest/doctest.h>

using namespace skep::moe;
using skep::test::peer;
using torch::Tensor;

namespace {

/// Two samples of two experts each; who of the two answered is up to the test.
MixturePass two_samples(std::vector<bool> alive) {
  ExpertChoice choice;
  choice.experts = {{"ffn.1.0", peer(1)}, {"ffn.0.1", peer(1)}};
  choice.chosen = {0, 1, 1, 0};
  choice.offsets = {0, 2, 4};
  MixturePass pass = MixturePass::make(std::move(choice), nullptr);
  pass.answers = pass.count_answers(alive);
  pass.alive = std::move(alive);
  return pass;
}

}  // namespace

TEST_CASE("B4.6 the score of an expert is the sum of the grid's scores at its coordinates, padding is minus infinity") {
  ExpertChoice choice;
  choice.experts = {{"ffn.1.2", peer(1)}, {"ffn.3.0", peer(1)}};
  choice.chosen = {0, 1, 1};
  choice.offsets = {0, 2, 3, 3};
  const Tensor first = torch::arange(12, torch::kFloat).view({3, 4}).requires_grad_();
  const Tensor second = torch::arange(12, torch::kFloat).view({3, 4}) * 10;
  const Tensor scores = sum_grid_scores({first, second}, choice);
  const float inf = std::numeric_limits<float>::infinity();
  CHECK(scores.equal(torch::tensor({{21.F, 3.F}, {47.F, -inf}, {-inf, -inf}})));
  scores.masked_fill(scores.isinf(), 0).sum().backward();
  CHECK(first.grad().equal(torch::tensor({{0.F, 1.F, 0.F, 1.F}, {0.F, 0.F, 0.F, 1.F}, {0.F, 0.F, 0.F, 0.F}})));
}

TEST_CASE("B4.7 weights are the softmax over the experts that answered") {
  const Tensor logits = torch::tensor({{std::log(3.F), 0.F}, {0.F, 1.F}});
  const Tensor all = place_weights(logits, two_samples({true, true}), 1);
  // places: ffn.1.0 of both rows, then ffn.0.1 of both rows
  const float e = std::exp(1.F);
  CHECK(all.allclose(torch::tensor({0.75F, e / (1 + e), 0.25F, 1 / (1 + e)})));
  const Tensor one = place_weights(logits, two_samples({false, true}), 1);
  CHECK(one.allclose(torch::tensor({0.F, 0.F, 1.F, 1.F})));
}

TEST_CASE("B4.8 a row without enough answers has zero weights and a finite gradient") {
  for (const std::size_t needed : {0U, 1U, 2U}) {
    const Tensor logits = torch::tensor({{1.F, 2.F}, {3.F, 4.F}}).requires_grad_();
    const bool alive = needed == 2;  // one answer where two are needed, else none
    const Tensor weights = place_weights(logits, two_samples({alive, false}), needed);
    CHECK(weights.equal(torch::zeros({4})));
    weights.sum().backward();
    CHECK(logits.grad().equal(torch::zeros({2, 2})));
  }
}

TEST_CASE("B7.4 the probability of an expert is the product of the grid's, and counts whoever else answered") {
  const MixturePass pass = two_samples({true, false});
  const Tensor first = torch::tensor({{0.25F, 0.75F}, {0.5F, 0.5F}}).requires_grad_();
  const Tensor second = torch::tensor({{0.5F, 0.5F}, {0.1F, 0.9F}});
  const Tensor probabilities = multiply_grid_scores({first, second}, pass.choice);
  CHECK(probabilities.allclose(torch::tensor({{0.375F, 0.125F}, {0.45F, 0.05F}})));
  const Tensor weights = place_probabilities(probabilities, pass, 0);
  CHECK(weights.allclose(torch::tensor({0.375F, 0.05F, 0.F, 0.F})));
  weights.sum().backward();
  CHECK(first.grad().allclose(torch::tensor({{0.F, 0.5F}, {0.F, 0.1F}})));
  CHECK(place_probabilities(probabilities, pass, 2).equal(torch::zeros({4})));
}

TEST_CASE("B5.8 the weights of experts that miss the backward pass are made up for by the others of the row") {
  const MixturePass pass = two_samples({true, true});
  const Tensor weights = torch::tensor({0.75F, 0.4F, 0.25F, 0.6F});
  CHECK_FALSE(missing_factors(pass, {true, true}, weights).defined());
  const Tensor factors = missing_factors(pass, {false, true}, weights);
  CHECK(factors.allclose(torch::tensor({4.F, 1 / 0.6F, 4.F, 1 / 0.6F})));
  CHECK(missing_factors(pass, {false, false}, weights).equal(torch::ones({4})));
  CHECK(scale_places(torch::ones({4, 2, 1}), factors).sum(0).flatten()[0].item<float>() == doctest::Approx(11.3333));
}

TEST_CASE("outputs of any shape and type are added up by row, and differentiated once and twice") {
  MixturePass pass;
  pass.choice.offsets = {0, 2, 2, 4};
  pass.rows = torch::tensor({0, 2, 0, 2}, torch::kLong);
  const Tensor few = torch::arange(8, torch::kFloat).view({4, 1, 2});
  const Tensor sum = add_up(few, torch::tensor({1.F, 2.F, 3.F, 4.F}), pass);
  CHECK(sum.equal(torch::tensor({12.F, 16.F, 0.F, 0.F, 28.F, 34.F}).view({3, 1, 2})));

  torch::manual_seed(3);
  struct Kind {
    std::vector<std::int64_t> of_place;
    at::ScalarType type;
  };
  for (const Kind& kind : {Kind{{3, 19}, torch::kFloat}, Kind{{3, 19}, torch::kDouble}, Kind{{}, torch::kFloat}}) {
    const auto shape = [&kind](std::int64_t rows) {
      std::vector<std::int64_t> all{rows};
      all.insert(all.end(), kind.of_place.begin(), kind.of_place.end());
      return all;
    };
    const Tensor outputs = torch::randn(shape(4), kind.type).requires_grad_();
    const Tensor weights = torch::randn({4}, kind.type).requires_grad_();
    const auto loss = [&](const Tensor& added) { return added.pow(3).sum(); };
    const auto gradients = [&](const Tensor& of, bool again) {
      return torch::autograd::grad({of}, {outputs, weights}, {}, again, again);
    };
    const Tensor ours = loss(add_up(outputs, weights, pass));
    const Tensor plain =
        loss(torch::zeros(shape(3), kind.type).index_add(0, pass.rows, scale_places(outputs, weights)));
    CHECK(ours.allclose(plain));
    const auto once = gradients(ours, true);
    const auto expected = gradients(plain, true);
    const auto twice = gradients(once[1].square().sum(), true);
    const auto expected_twice = gradients(expected[1].square().sum(), true);
    const auto fast = gradients(loss(add_up(outputs, weights, pass)), false);
    for (std::size_t i = 0; i < 2; ++i) {
      CHECK(once[i].allclose(expected[i]));
      CHECK(fast[i].allclose(expected[i], 1e-4, 1e-5));
      CHECK(twice[i].allclose(expected_twice[i], 1e-4, 1e-3));
    }
  }
  const Tensor whole = torch::tensor({1, 2, 3, 4}, torch::kLong).view({4, 1});
  CHECK(add_up(whole, torch::ones({4}), pass).flatten().equal(torch::tensor({4, 0, 6}, torch::kLong)));
  pass.rows = torch::empty({0}, torch::kLong);
  CHECK(add_up(torch::empty({0, 2}), torch::empty({0}), pass).equal(torch::zeros({3, 2})));
}
