#include "skep/moe/server/trainer.hpp"

#include <cmath>
#include <limits>

// doctest comes last: LibTorch's CHECK must not hide its own
#include <doctest/doctest.h>

using namespace skep::moe;  // NOLINT(*-using-namespace)
using Kind = LearningRateSchedule::Kind;

namespace {
/// Two numbers that SGD of rate 1 moves, so that a step shows the gradient that it was made with.
struct Pair {
  explicit Pair(BackendOptions options = {.optimizer = sgd(1)})
      : a(torch::zeros({1}).requires_grad_()),
        b(torch::zeros({1}).requires_grad_()),
        trainer({{0, "a", a}, {1, "b", b}}, options) {}
  void train(double for_a, double for_b, std::int64_t samples = 1) {
    a.mutable_grad() = torch::full({1}, for_a);
    b.mutable_grad() = torch::full({1}, for_b);
    trainer.on_backward(samples);
  }
  [[nodiscard]] std::pair<double, double> moved() const { return {-a.item<double>(), -b.item<double>()}; }

  Tensor a, b;
  Trainer trainer;
};
std::pair<double, double> rounded(std::pair<double, double> p) {
  return {std::round(p.first * 1e4) / 1e4, std::round(p.second * 1e4) / 1e4};
}
}  // namespace

TEST_CASE("C4.5 H-32 a step for every batch with the sum of its gradients, or, as told, with their mean") {
  Pair sum;
  sum.train(6, -8, 4);
  CHECK(sum.moved() == std::pair(6.0, -8.0));
  CHECK(sum.trainer.updates() == 1);
  CHECK_FALSE(sum.a.grad().defined());
  Pair mean({.optimizer = sgd(1), .gradient_reduction = GradientReduction::mean});
  mean.train(6, -8, 4);
  CHECK(mean.moved() == std::pair(1.5, -2.0));
}

TEST_CASE("H-32 gradients are summed until enough samples have come together, so steps do not depend on traffic") {
  for (const auto reduction : {GradientReduction::sum, GradientReduction::mean}) {
    Pair pair({.optimizer = sgd(1), .accumulate_samples = 8, .gradient_reduction = reduction});
    pair.train(1, 0, 3);
    pair.train(2, 0, 4);
    CHECK(pair.moved() == std::pair(0.0, 0.0));
    CHECK(pair.trainer.updates() == 0);
    pair.train(3, 4, 3);
    CHECK(pair.trainer.updates() == 1);
    CHECK(rounded(pair.moved()) == (reduction == GradientReduction::sum ? std::pair(6.0, 4.0) : std::pair(0.6, 0.4)));
    pair.train(9, 9, 7);
    CHECK(pair.trainer.updates() == 1);
  }
}

TEST_CASE("C9.5 C1.10 the norm of all gradients together is clipped before the step") {
  Pair pair({.optimizer = sgd(1), .clip_grad_norm = 1});
  pair.train(3, -4);
  CHECK(rounded(pair.moved()) == std::pair(0.6, -0.8));
  pair.train(0.3, 0);
  CHECK(rounded(pair.moved()) == std::pair(0.9, -0.8));
  pair.train(0, 3e30);  // its square is not a float32
  CHECK(rounded(pair.moved()) == std::pair(0.9, 0.2));
}

TEST_CASE("C9.6 the rate follows the schedule, one factor a step") {
  Pair pair({.optimizer = sgd(1), .schedule = {Kind::linear, 2, 6}});
  double before = 0;
  for (const double factor : {0.0, 0.5, 1.0, 0.75, 0.5, 0.25, 0.0, 0.0}) {
    pair.train(1, 0);
    CHECK(pair.moved().first - before == doctest::Approx(factor));
    before = pair.moved().first;
  }
}

TEST_CASE("C4.9 H-36 a gradient that is not finite makes no step and is counted, what waits is kept") {
  Pair pair({.optimizer = sgd(1), .accumulate_samples = 2});
  pair.train(1, 1);
  CHECK_THROWS_WITH_AS(pair.train(1, std::numeric_limits<double>::quiet_NaN()),
                       "skep: the gradient of \"b\" is not finite", skep::Error);
  CHECK(pair.trainer.refused() == 1);
  CHECK(pair.trainer.updates() == 0);
  CHECK_FALSE(pair.b.grad().defined());
  pair.train(1, 1);
  CHECK(pair.moved() == std::pair(2.0, 2.0));
}

TEST_CASE("finite gradients whose sum is not make no step: what waited is dropped, and training goes on") {
  Pair pair({.optimizer = sgd(1), .accumulate_samples = 2});
  pair.train(1, 3e38);
  CHECK_THROWS_WITH_AS(pair.train(1, 3e38), doctest::Contains("the accumulated gradient of \"b\" is not finite"),
                       skep::Error);
  CHECK(pair.trainer.refused() == 1);
  CHECK(pair.moved() == std::pair(0.0, 0.0));
  pair.train(2, 1, 2);
  CHECK(pair.moved() == std::pair(2.0, 1.0));
}

TEST_CASE("C4.6 without an optimizer gradients are dropped") {
  Pair pair({.optimizer = nullptr});
  pair.train(1, 1);
  CHECK_FALSE(pair.a.grad().defined());
  CHECK(pair.moved() == std::pair(0.0, 0.0));
  CHECK(pair.trainer.updates() == 0);
}

TEST_CASE("a sum of gradients writes into none that it was given") {
  const auto one = torch::ones({2}), two = torch::full({2}, 2.F);
  GradientSum sum;
  for (int i = 0; i < 3; ++i) sum.add(std::vector{one, one, Tensor(), i == 1 ? two : Tensor()});
  const auto sums = sum.take();
  CHECK(at::equal(one, torch::ones({2})));
  CHECK(at::equal(sums[0], torch::full({2}, 3.F)));
  CHECK(at::equal(sums[1], torch::full({2}, 3.F)));
  CHECK_FALSE(sums[2].defined());
  CHECK(at::equal(sums[3], two));
  CHECK(sum.take().empty());
}

TEST_CASE("C4.8 optimizer, schedule and count go on from a state") {
  const BackendOptions options{.optimizer = adam(0.1), .schedule = {Kind::linear, 0, 10}};
  Pair first(options), second(options);
  for (int i = 0; i < 3; ++i) first.train(1, i);
  ExpertState state;
  first.trainer.save(state);
  CHECK(state.updates == 3);
  CHECK(state.schedule_step == 3);
  CHECK(state.optimizer->options.at("lr").toDouble() == doctest::Approx(0.07));
  CHECK(state.optimizer->options.at("initial_lr").toDouble() == 0.1);
  second.train(7, 7);
  second.trainer.prepare_load(state)();
  CHECK(second.trainer.updates() == 3);
  {
    const at::NoGradGuard no_grad;
    second.a.copy_(first.a);
    second.b.copy_(first.b);
  }
  for (Pair* pair : {&first, &second}) pair->train(2, 2);
  CHECK(first.moved() == second.moved());
}

TEST_CASE("C1.10 C4.1 options that do not fit are told at once") {
  CHECK_THROWS_WITH_AS(Pair({.optimizer = no_optimizer(), .clip_grad_norm = 1}),
                       "skep: a schedule and clip_grad_norm need an optimizer", skep::Error);
  CHECK_THROWS_WITH_AS(Pair({.optimizer = nullptr, .schedule = {Kind::linear, 0, 1}}),
                       "skep: a schedule and clip_grad_norm need an optimizer", skep::Error);
  CHECK_THROWS_WITH_AS(Pair({.clip_grad_norm = 0}), "skep: clip_grad_norm must be above 0", skep::Error);
  CHECK_NOTHROW(Trainer({}, {.clip_grad_norm = 1}));  // an expert without parameters beside others
}
