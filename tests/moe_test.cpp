#include "skep/moe.hpp"

#include <tuple>

#include "support/coroutine.hpp"

using namespace std::chrono_literals;

// The code that users write, as the documentation shows it.

/// A classifier whose middle lives elsewhere: the remote part is a module among others.
struct NetImpl : torch::nn::Module {
  explicit NetImpl(skep::dht::DHT& dht)
      : in(register_module("in", torch::nn::Linear(12, 8))),
        moe(register_module("moe", skep::moe::RemoteMixtureOfExperts({.in_features = 8,
                                                                      .grid_size = {2, 2},
                                                                      .dht = dht,
                                                                      .uid_prefix = "ffn.",
                                                                      .k_best = 2,
                                                                      .forward_timeout = 5s,
                                                                      .timeout_after_k_min = 1s}))),
        out(register_module("out", torch::nn::Linear(8, 3))) {}

  torch::Tensor forward(torch::Tensor x) { return out(moe->forward(torch::relu(in(x.flatten(1))))); }

  torch::nn::Linear in;
  skep::moe::RemoteMixtureOfExperts<> moe;
  torch::nn::Linear out;
};
TORCH_MODULE(Net);

TEST_CASE("a network with a remote mixture learns in a loop as any other") {
  skep::dht::DHT dht({.host_maddrs = {"/ip4/127.0.0.1/tcp/0"}});
  skep::moe::Server<skep::moe::Ffn> server(
      dht, {.experts = {{.num_experts = 4, .expert_pattern = "ffn.[0:2].[0:2]", .expert = {.hidden_dim = 8}}}});
  server.start();

  skep::dht::DHT client({.initial_peers = dht.visible_maddrs(), .client_mode = true});
  torch::manual_seed(1);
  Net net(client);
  CHECK(net->named_parameters().contains("moe.proj.weight"));
  torch::optim::Adam optimizer(net->parameters(), torch::optim::AdamOptions(1e-2));
  const auto x = torch::randn({16, 3, 4});
  const auto target = torch::randint(3, {16}, torch::kLong);
  double first = 0, last = 0;
  for (int step = 0; step < 30; ++step) {
    optimizer.zero_grad();
    const auto loss = at::nll_loss(net->forward(x).log_softmax(1), target);
    loss.backward();
    optimizer.step();
    last = loss.item<double>();
    if (step == 0) first = last;
  }
  CHECK(last < 0.7 * first);
  server.shutdown();
}

TEST_CASE("a mixture over a prefix without experts says so in one sentence") {
  skep::dht::DHT dht({.host_maddrs = {"/ip4/127.0.0.1/tcp/0"}});
  Net net(dht);
  CHECK_THROWS_WITH_AS(net->forward(torch::zeros({1, 12})),
                       doctest::Contains("no expert found under \"ffn.\" on a 2 x 2 grid"), skep::Error);
}

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
