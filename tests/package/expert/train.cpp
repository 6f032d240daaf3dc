#include <cstdio>
#include <skep/moe.hpp>

#include <torch/torch.h>

using namespace std::chrono_literals;

struct NetImpl : torch::nn::Module {
  explicit NetImpl(const skep::dht::DHT& dht)
      : in(register_module("in", torch::nn::Linear(784, 64))),
        moe(register_module("moe", skep::moe::RemoteMixtureOfExperts<>({.in_features = 64,
                                                                        .grid_size = {4, 4},
                                                                        .dht = dht,
                                                                        .uid_prefix = "ffn.",
                                                                        .k_best = 4,
                                                                        .forward_timeout = 2s,
                                                                        .timeout_after_k_min = 100ms}))),
        out(register_module("out", torch::nn::Linear(64, 10))) {}
  torch::Tensor forward(torch::Tensor x) { return out(moe(torch::relu(in(x.flatten(1))))); }

  torch::nn::Linear in;
  skep::moe::RemoteMixtureOfExperts<> moe;
  torch::nn::Linear out;
};
TORCH_MODULE(Net);

int main(int argc, char** argv) {
  skep::dht::DHT dht({.initial_peers = {argv + 1, argv + argc}, .client_mode = true});
  Net net(dht);
  torch::optim::Adam optimizer(net->parameters(), 1e-3);
  for (int step = 0; step < 100; ++step) {
    auto pictures = torch::rand({256, 28, 28});  // your data
    auto classes = torch::randint(10, {256}, torch::kLong);
    auto loss = torch::nn::functional::cross_entropy(net(pictures), classes);
    optimizer.zero_grad();
    loss.backward();  // trains the experts, too
    optimizer.step();
    std::printf("step %d: loss %.3f\n", step, loss.item<double>());
  }
}
