// Figure 4 of suite mixture: gradients through remote experts and mixtures beside those of the same modules held here.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "row.hpp"
#include "skep/dht/dht.hpp"
#include "skep/moe/client/mixture.hpp"
#include "skep/moe/client/remote_expert.hpp"
#include "skep/moe/server/layers.hpp"
#include "skep/moe/server/module_backend.hpp"
#include "skep/moe/server/server.hpp"

namespace skep::bench {

/// A grid of experts that are served over loopback and never change, and the layer that they make, computed here.
class GradientCheck {
  using Tensor = moe::Tensor;

 public:
  GradientCheck() {
    server_.start();
    for (const auto& uid : uids()) {
      modules_.push_back(dynamic_cast<moe::ModuleBackend<moe::Ffn>&>(*server_.experts().at(uid)).module());
    }
  }

  void print(Table& table) {
    torch::manual_seed(4);
    print_expert(table);
    print_mixture(table);
    print_finite_differences(table);
  }

 private:
  static constexpr std::int64_t width = 64, rows = 256, side = 4;

  static std::vector<std::string> uids() {
    std::vector<std::string> all;
    for (int i = 0; i < side * side; ++i) {
      all.push_back("ffn." + std::to_string(i / side) + "." + std::to_string(i % side));
    }
    return all;
  }
  static Tensor leaf(const Tensor& values) { return values.clone().requires_grad_(); }

  void print_expert(Table& table) {
    moe::RemoteExpert<> expert({uids().front(), serving_.peer_id()}, client_);
    const Tensor x = at::randn({rows, width});
    const Tensor target = at::randn({rows, width});
    const Tensor there = leaf(x);
    const Tensor here = leaf(x);
    (expert->forward(there) * target).sum().backward();
    (modules_.front()->forward(here) * target).sum().backward();
    print_difference(table, "gradient of an expert's input", there.grad(), here.grad());
  }

  moe::RemoteMixtureOfExperts<> mixture_of(std::size_t k_best) {
    return moe::RemoteMixtureOfExperts<>(
        {.in_features = width, .grid_size = {side, side}, .dht = client_, .uid_prefix = "ffn.", .k_best = k_best});
  }

  void print_mixture(Table& table) {
    auto mixture = mixture_of(4);
    const Tensor x = at::randn({rows, width});
    const Tensor target = at::randn({rows, width});
    const Tensor there = leaf(x);
    const Tensor here = leaf(x);
    (mixture(there) * target).sum().backward();
    const Tensor weight = mixture->proj->weight.grad().clone();
    const Tensor bias = mixture->proj->bias.grad().clone();
    mixture->zero_grad();
    (local(mixture->proj, here, 4) * target).sum().backward();
    print_difference(table, "gradient of a mixture's input", there.grad(), here.grad());
    print_difference(table, "gradient of its gate's weight", weight, mixture->proj->weight.grad());
    print_difference(table, "gradient of its gate's bias", bias, mixture->proj->bias.grad());
  }

  /// By how much the remote layer's result changes along random directions of input and gate, and by how much its
  /// gradients say so; with all experts, of which no step makes others the best.
  void print_finite_differences(Table& table) {
    constexpr double step = 1e-3;
    auto mixture = mixture_of(side * side);
    const Tensor x = at::randn({8, width});
    const Tensor target = at::randn({8, width});
    const auto result = [&](const Tensor& input) { return (mixture(input) * target).to(at::kDouble).sum(); };
    const Tensor there = leaf(x);
    result(there).backward();
    auto& gate = mixture->proj->weight;
    double worst = 0;
    for (int direction = 0; direction < 8; ++direction) {
      const Tensor of_input = at::randn_like(x);
      const Tensor of_gate = at::randn_like(gate);
      const auto moved = [&](double by) {
        const at::NoGradGuard no_grad;
        gate.add_(of_gate, by);
        const double value = result(x + by * of_input).item<double>();
        gate.sub_(of_gate, by);
        return value;
      };
      const double seen = (moved(step) - moved(-step)) / (2 * step);
      const double said = ((there.grad() * of_input).sum() + (gate.grad() * of_gate).sum()).item<double>();
      const double scale = std::sqrt((there.grad().square().sum() + gate.grad().square().sum()).item<double>());
      worst = std::max(worst, std::abs(seen - said) / scale);
    }
    print_row(table, "gradients, by finite differences", worst, 1e-3);
  }

  /// The mixture computed here with the same modules: softmax of the best k sums of scores.
  Tensor local(torch::nn::Linear gate, const Tensor& x, std::int64_t k_best) {
    const Tensor scores = gate->forward(x);
    const Tensor sums = scores.narrow(1, 0, side).unsqueeze(2) + scores.narrow(1, side, side).unsqueeze(1);
    const auto [best, which] = sums.flatten(1).topk(k_best, 1);
    std::vector<Tensor> outputs;
    for (auto& module : modules_) outputs.push_back(module->forward(x));
    const Tensor chosen = at::stack(outputs, 1).gather(1, which.unsqueeze(2).expand({x.size(0), k_best, width}));
    return (chosen * best.softmax(1).unsqueeze(2)).sum(1);
  }

  /// The largest difference, relative to the largest of the gradients.
  static void print_difference(Table& table, std::string name, const Tensor& remote, const Tensor& local) {
    print_row(table, std::move(name), ((remote - local).abs().max() / local.abs().max()).item<double>(), 1e-6);
  }
  static void print_row(Table& table, std::string name, double difference, double allowed) {
    std::array<char, 32> ours{};
    std::array<char, 32> limit{};
    std::snprintf(ours.data(), ours.size(), "%.1e", difference);
    std::snprintf(limit.data(), limit.size(), "%.0e", allowed);
    table.print({.name = std::move(name),
                 .skep = ours.data(),
                 .limit = limit.data(),
                 .ratio = difference / allowed,
                 .goal = 1});
  }

  dht::DHT serving_{{.host_maddrs = {"/ip4/127.0.0.1/tcp/0"}}};
  moe::Server<moe::Ffn> server_{serving_,
                                {.experts = {{.expert_uids = uids(), .expert = {.hidden_dim = width}}},
                                 .optimizer = moe::no_optimizer(),
                                 .threads = 1}};
  dht::DHT client_{{.initial_peers = serving_.visible_maddrs(), .client_mode = true}};
  std::vector<moe::Ffn> modules_;
};

}  // namespace skep::bench
