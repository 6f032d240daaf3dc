// A switch mixture on a small task: points of four classes in a plane, each sample routed to one remote expert; the
// balancing loss keeps all experts busy. Prints accuracy and how much each coordinate of the grid is used.
#include <cmath>
#include <cstdio>
#include <numbers>
#include <string>
#include <vector>

#include <torch/torch.h>
#include <skep/moe.hpp>

namespace {

constexpr int64_t width = 32;

struct NetImpl : torch::nn::Module {
  explicit NetImpl(const skep::DHT& dht)
      : in(register_module("in", torch::nn::Linear(2, width))),
        moe(register_module("moe", skep::RemoteSwitchMixtureOfExperts<>({.in_features = width,
                                                                         .grid_size = {2, 2},
                                                                         .dht = dht,
                                                                         .uid_prefix = "switch.",
                                                                         .grid_dropout = 0.9,
                                                                         .jitter_eps = 0.02}))),
        out(register_module("out", torch::nn::Linear(width, 4))) {}

  std::tuple<torch::Tensor, torch::Tensor> forward(const torch::Tensor& x) {
    const auto [y, balancing_loss] = moe(torch::relu(in(x)));
    return {out(y), balancing_loss};
  }

  torch::nn::Linear in;
  skep::RemoteSwitchMixtureOfExperts<> moe;
  torch::nn::Linear out;
};
TORCH_MODULE(Net);

/// Points on four intertwined spiral arms, float[n, 2], and the arm of each, int64[n].
std::pair<torch::Tensor, torch::Tensor> spirals(int64_t n) {
  const auto arm = torch::randint(4, {n}, torch::kLong);
  const auto along = torch::rand({n});
  const auto angle = along * 2 + arm * (std::numbers::pi / 2) + torch::randn({n}) * 0.08;
  const auto radius = along * 2 + 0.3;
  return {torch::stack({radius * angle.cos(), radius * angle.sin()}, 1), arm};
}

void run() {
  torch::manual_seed(3);
  skep::DHT server_dht({.host_maddrs = {"/ip4/127.0.0.1/tcp/0"}});
  skep::Server<skep::moe::Ffn> server(
      server_dht, {.experts = {{.expert_uids = {"switch.0.0", "switch.0.1", "switch.1.0", "switch.1.1"},
                                .expert = {.hidden_dim = width}}},
                   .optimizer = skep::moe::adam(5e-3)});
  server.run_in_background();

  skep::DHT dht({.initial_peers = server_dht.visible_maddrs(), .client_mode = true});
  Net net(dht);
  torch::optim::Adam optimizer(net->parameters(), 1e-2);
  for (int step = 1; step <= 60; ++step) {
    const auto [x, arm] = spirals(256);
    const auto [logits, balancing_loss] = net(x);
    const auto loss = torch::nn::functional::cross_entropy(logits, arm) + 0.5 * balancing_loss;
    optimizer.zero_grad();
    loss.backward();
    optimizer.step();
    if (step % 20 == 0) std::printf("step %d: loss %.3f\n", step, loss.item<double>());
  }

  net->eval();
  const torch::NoGradGuard no_grad;
  const auto [x, arm] = spirals(2000);
  const double accuracy = std::get<0>(net(x)).argmax(1).eq(arm).to(torch::kDouble).mean().item<double>();
  const auto used = net->moe->grid_utilization;
  std::printf("accuracy=%.3f utilization=%.2f,%.2f|%.2f,%.2f\n", accuracy, used[0].item<double>(),
              used[1].item<double>(), used[2].item<double>(), used[3].item<double>());
  if (accuracy < 0.9 || used.min().item<double>() < 0.25) throw std::runtime_error("the net has not learned the task");
}

}  // namespace

int main() {
  try {
    run();
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "switch: %s\n", error.what());
    return 1;
  }
}
