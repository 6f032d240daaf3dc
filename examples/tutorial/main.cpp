// Hivemind's tutorial of decentralized mixtures of experts, step for step: experts served by the command and from code,
// two of them trained as layers of a small net, then all of them behind a gate.
//   tutorial [FOLDER OF skep-server]
#include <cstdio>
#include <filesystem>
#include <string>

#include <torch/torch.h>
#include <skep/moe.hpp>

#include "../fashion_mnist/process.hpp"

namespace {

using namespace std::chrono_literals;

/// The address that a server prints for others to join it.
std::string address_of(example::Process& server) {
  constexpr std::string_view marker = "--initial_peers ";
  const std::string line = server.wait_for_line(marker, 30s);
  const auto from = line.find(marker) + marker.size();
  return line.substr(from, line.find_first_of(" \t\r", from) - from);
}

void tutorial(const std::filesystem::path& commands) {
  // Host experts with a server: the command ...
  example::Process hivemind({(commands / "skep-server").string(), "--expert_cls", "ffn", "--hidden_dim", "512",
                             "--num_experts", "5", "--expert_pattern", "expert.[0:5]", "--optimizer", "sgd",
                             "--host_maddrs", "/ip4/127.0.0.1/tcp/0"});
  const std::string initial_peer = address_of(hivemind);
  hivemind.wait_for_line("Started", 30s);
  std::printf("a server runs at %s\n", initial_peer.c_str());

  // ... and a second server in the same network, from code. It takes uids that nobody serves yet.
  skep::DHT server_dht({.initial_peers = {initial_peer}, .host_maddrs = {"/ip4/127.0.0.1/tcp/0"}});
  skep::Server<skep::moe::Ffn> server(
      server_dht, {.experts = {{.num_experts = 10, .expert_pattern = "expert.[5:250]", .expert = {.hidden_dim = 512}}},
                   .optimizer = skep::moe::sgd()});
  server.run_in_background();
  std::printf("another serves %zu experts, the first is %s\n", server.uids().size(), server.uids().front().c_str());

  // Train the experts. A client requests others but does not accept requests in return.
  skep::DHT dht({.initial_peers = {initial_peer}, .client_mode = true});
  auto experts = skep::moe::get_experts(dht, {"expert.1", "expert.4"});
  auto &expert1 = experts[0], &expert4 = experts[1];
  if (!expert1 || !expert4) throw std::runtime_error("experts not found; please double-check initial peers");

  torch::Tensor dummy = torch::randn({3, 512});
  torch::Tensor out = expert1(dummy);  // forward pass
  out.sum().backward();                // backward pass; the expert makes a step of SGD

  // generate dummy data
  torch::Tensor x = torch::randn({3, 512});
  torch::Tensor y = 0.01 * x.sum(-1, true);
  // local torch module
  torch::nn::Sequential proj_out(torch::nn::Linear(512, 3));
  torch::optim::SGD opt(proj_out->parameters(), 0.01);
  for (int i = 0; i < 100; ++i) {
    torch::Tensor prediction = proj_out->forward(expert1(expert4(x)));
    torch::Tensor loss = (prediction - y).abs().mean();
    if (i % 25 == 0) std::printf("step %d: loss %.4f\n", i, loss.item<double>());
    opt.zero_grad();
    loss.backward();
    opt.step();
  }

  // Finally, a Mixture-of-Experts layer over these experts
  skep::RemoteMixtureOfExperts<> dmoe(
      {.in_features = 512, .grid_size = {5}, .dht = dht, .uid_prefix = "expert.", .k_best = 2});
  out = dmoe(torch::randn({3, 512}));
  std::printf("the mixture's output is %s\n", c10::str(out.sizes()).c_str());
  out.sum().backward();
}

}  // namespace

int main(int argc, char** argv) {
  try {
    tutorial(argc > 1 ? argv[1] : std::filesystem::canonical("/proc/self/exe").parent_path());
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "tutorial: %s\n", error.what());
    return 1;
  }
}
