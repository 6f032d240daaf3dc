#include "skep/moe/client/switch_mixture.hpp"

#include <torch/serialize.h>

#include <chrono>
#include <cmath>
#include <sstream>

#include "moe/client/swarm.hpp"
// doctest comes last
#include <doctest/doctest.h>

using namespace skep::moe;
using skep::test::ExpertServer;
using torch::Tensor;
using namespace std::chrono_literals;

namespace {

float difference(const Tensor& a, const Tensor& b) { return (a - b).abs().max().item<float>(); }

/// One server with a 2 x 3 grid of y = w x, and a client.
template <class M = Scale>
struct Grid {
  explicit Grid(OptimizerFactory optimizer = nullptr)
      : server({}, {.expert = {.hidden_dim = 4}, .optimizer = std::move(optimizer)}) {
    for (int i = 0; i < 2; ++i) {
      for (int j = 0; j < 3; ++j) server.add<M>("sw." + std::to_string(i) + "." + std::to_string(j));
    }
    server.start();
    client.emplace(skep::test::client_of(server));
  }
  [[nodiscard]] SwitchMixtureOptions options() const {
    return {.in_features = 4, .grid_size = {2, 3}, .dht = *client, .uid_prefix = "sw."};
  }
  ExpertServer server;
  std::optional<skep::dht::DHT> client;
};

}  // namespace

TEST_CASE("B7.3 to B7.5 the output is the input plus the experts' outputs times their probabilities") {
  Grid grid;
  auto options = grid.options();
  options.k_best = 2;
  RemoteSwitchMixtureOfExperts moe(options);
  moe->eval();
  const Tensor x = torch::randn({5, 4}).requires_grad_();
  const auto [y, loss] = moe(x);
  const auto scores = moe->proj->forward(x).split_with_sizes({2, 3}, -1);
  const Tensor probabilities = (scores[0].softmax(-1).unsqueeze(2) * scores[1].softmax(-1).unsqueeze(1)).flatten(1);
  const Tensor best = std::get<0>(probabilities.topk(2, 1)).sum(1, true);
  const Tensor w = torch::linspace(1, 2, 4);
  CHECK(difference(y, best * (x * w) + x) < 1e-6);
  CHECK(loss.dim() == 0);
  CHECK(moe->grid_utilization.allclose(torch::tensor({0.5F, 0.5F, 1 / 3.F, 1 / 3.F, 1 / 3.F})));  // eval: unchanged
  y.sum().backward();
  CHECK(x.grad().isfinite().all().item<bool>());
}

TEST_CASE("B7.1, H-14: the caller's input is not touched, also when it is a leaf that requires grad") {
  Grid grid;
  RemoteSwitchMixtureOfExperts moe(grid.options());
  const Tensor x = torch::randn({5, 4}).requires_grad_();
  const Tensor before = x.detach().clone();
  (void)moe(x);
  CHECK(x.equal(before));
}

TEST_CASE("B7.1, B7.2: jitter and dropout act in training mode only") {
  Grid grid;
  torch::manual_seed(6);  // two passes in which dropout leaves one coordinate of each dimension would be equal
  auto options = grid.options();
  options.jitter_eps = 0.5;
  options.grid_dropout = 0.5;
  RemoteSwitchMixtureOfExperts moe(options);
  const Tensor x = torch::randn({5, 4});
  moe->eval();
  CHECK(std::get<0>(moe(x)).equal(std::get<0>(moe(x))));
  moe->train();
  CHECK_FALSE(std::get<0>(moe(x)).equal(std::get<0>(moe(x))));
}

TEST_CASE(
    "B7.5, B7.7, B7.10: when nobody answers the output is the input and the utilization stays, or it is an error") {
  Grid grid;
  auto options = grid.options();
  options.forward_timeout = 200ms;
  options.backward_timeout = 200ms;
  RemoteSwitchMixtureOfExperts moe(options);
  (void)moe(torch::randn({8, 4}));
  const Tensor utilization = moe->grid_utilization.clone();
  grid.server.hang();
  const Tensor x = torch::randn({5, 4}).requires_grad_();
  const auto [y, loss] = moe(x);
  CHECK(y.equal(x));
  CHECK(moe->grid_utilization.equal(utilization));
  (y.sum() + loss).backward();
  CHECK(x.grad().isfinite().all().item<bool>());

  options.allow_zero_outputs = false;
  RemoteSwitchMixtureOfExperts strict(options);
  try {
    (void)strict(x);
    FAIL("nobody answered");
  } catch (const skep::Error& error) {
    CHECK(error.code() == make_error_code(skep::errc::timed_out));
    CHECK(std::string(error.what()).find("5 of 5 samples have fewer than 1 answers") != std::string::npos);
  }
  options.uid_prefix = "ws.";
  RemoteSwitchMixtureOfExperts lost(options);
  CHECK_THROWS_WITH_AS((void)lost(x), doctest::Contains("no expert found under \"ws.\" on a 2 x 3 grid"), skep::Error);
}

TEST_CASE("H-28 the next best stands in for a switch mixture's expert, too") {
  Grid grid;
  ExpertServer other(grid.server.addresses(), {.expert = {.hidden_dim = 4}});
  other.add<Scale>("two.0.0");
  other.start();
  ExpertServer third(grid.server.addresses(), {.expert = {.hidden_dim = 4}});
  third.add<Scale>("two.1.2");
  third.start();
  auto options = grid.options();
  options.uid_prefix = "two.";
  RemoteSwitchMixtureOfExperts moe(options);
  {
    const at::NoGradGuard no_grad;
    moe->proj->weight.zero_();
    moe->proj->bias.copy_(torch::tensor({0.5F, 0.F, 0.5F, 0.F, 0.F}));  // everyone to two.0.0
  }
  moe->eval();
  (void)moe(torch::ones({3, 4}));
  other.kill();
  const Tensor p = moe->proj->bias.narrow(0, 0, 2).softmax(0)[1] * moe->proj->bias.narrow(0, 2, 3).softmax(0)[2];
  CHECK(difference(std::get<0>(moe(torch::ones({3, 4}))), 1 + p * torch::linspace(1, 2, 4).expand({3, 4})) < 1e-5);
}

TEST_CASE("B7.7, B7.9: the balancing loss evens the utilization out") {
  Grid grid;
  torch::manual_seed(5);
  auto options = grid.options();
  options.utilization_alpha = 0.5;
  RemoteSwitchMixtureOfExperts moe(options);
  {
    const at::NoGradGuard no_grad;
    moe->proj->bias.copy_(torch::tensor({2.F, 0.F, 2.F, 0.F, 0.F}));  // everyone to sw.0.0
    moe->proj->weight.mul_(0.2);
  }
  torch::optim::Adam optimizer(moe->parameters(), 0.05);
  const Tensor x = torch::randn({64, 4});
  float before = 0;
  for (int step = 0; step < 60; ++step) {
    optimizer.zero_grad();
    const auto [y, loss] = moe(x);
    if (step == 0) before = moe->grid_utilization[0].item<float>();
    loss.backward();
    optimizer.step();
  }
  CHECK(before > 0.7F);
  CHECK(moe->grid_utilization[0].item<float>() < 0.65F);
  CHECK(moe->grid_utilization.narrow(0, 2, 3).max().item<float>() < 0.6F);
}

TEST_CASE("B7.6, H-13: experts with several outputs and inputs of whole numbers") {
  Grid<TwoWays> grid;
  RemoteSwitchMixtureOfExperts<std::tuple<Tensor, Tensor>(Tensor, Tensor)> moe(grid.options());
  moe->eval();
  const Tensor x = torch::randn({5, 4});
  const auto [outputs, loss] = moe->forward(x, torch::ones({5, 1}, torch::kLong));
  const auto& [product, negative] = outputs;
  CHECK(difference(product - x, -negative) < 1e-6);  // both times one probability; the residual is in the first
}

TEST_CASE("a switch mixture is saved with its utilization, under Hivemind's names") {
  Grid grid;
  RemoteSwitchMixtureOfExperts moe(grid.options());
  (void)moe(torch::randn({16, 4}));
  CHECK(moe->named_parameters().contains("proj.weight"));
  CHECK(moe->named_buffers().contains("grid_utilization"));
  std::stringstream file;
  torch::save(moe, file);
  RemoteSwitchMixtureOfExperts loaded(grid.options());
  torch::load(loaded, file);
  CHECK(loaded->named_buffers()["grid_utilization"].equal(moe->grid_utilization));
}

TEST_CASE("a switch mixture's options and experts that do not fit are refused with a sentence") {
  Grid<TwoWays> grid;
  const auto words = [](auto call) {
    try {
      call();
    } catch (const std::exception& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  auto options = grid.options();
  options.grid_dropout = 0;
  CHECK(words([&] { RemoteSwitchMixtureOfExperts moe(options); }) ==
        "skep: grid_dropout is the probability with which a coordinate is kept: above 0, at most 1, which is off");
  options = grid.options();
  options.jitter_eps = -1;
  CHECK(words([&] { RemoteSwitchMixtureOfExperts moe(options); }) == "skep: jitter_eps must lie between 0 and 1");
}
