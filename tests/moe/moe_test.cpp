#include "skep/moe/moe.hpp"

#include <tuple>

#include "support/coroutine.hpp"

// The code that users write, as the documentation shows it.

struct GatedImpl : torch::nn::Module {
  explicit GatedImpl(int64_t width) : gate(register_module("gate", torch::nn::Linear(width, width))) {}
  torch::Tensor forward(torch::Tensor x, torch::Tensor context) { return x * torch::sigmoid(gate->forward(context)); }
  torch::nn::Linear gate;
};
TORCH_MODULE(Gated);

template <>
struct skep::moe::Expert<Gated> {
  static constexpr auto name = "gated";
  static auto make(const ExpertOptions& o) { return Gated(o.hidden_dim); }
  static auto sample(const ExpertOptions& o) { return std::tuple{row(o.hidden_dim), row(o.hidden_dim)}; }
};

TEST_CASE("an expert of one's own with two inputs is served, found, called and trained") {
  skep::dht::DHT dht({.host_maddrs = {"/ip4/127.0.0.1/tcp/0"}});
  skep::moe::Server<skep::moe::Ffn, Gated> server(
      dht, {.experts = {{.expert_cls = "gated", .expert_uids = {"gated.0", "gated.1"}, .expert = {.hidden_dim = 8}}}});
  server.start();

  skep::dht::DHT client({.initial_peers = dht.visible_maddrs(), .client_mode = true});
  auto experts =
      skep::moe::get_experts<torch::Tensor(torch::Tensor, torch::Tensor)>(client, {"gated.0", "gated.1", "gated.2"});
  REQUIRE(experts.size() == 3);
  REQUIRE(experts[0]);
  CHECK_FALSE(experts[2]);

  const auto x = torch::randn({3, 8}, torch::requires_grad()), context = torch::randn({3, 8});
  const auto y = experts[0]->forward(x, context);
  CHECK(y.sizes() == x.sizes());
  y.sum().backward();
  CHECK(x.grad().defined());
  const auto after = experts[0]->forward(x, context);
  CHECK_FALSE(torch::allclose(y, after));  // the backward call has trained it
  server.shutdown();
}
