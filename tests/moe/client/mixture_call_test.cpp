#include "skep/moe/client/mixture_call.hpp"

#include "moe/client/swarm.hpp"
// doctest comes last
#include <doctest/doctest.h>

using namespace skep::moe;
using torch::Tensor;

TEST_CASE("B5 rows travel to the places of their experts, gradients come back as sums over the experts of each row") {
  skep::test::ExpertServer server({}, {.expert = {.hidden_dim = 4}, .optimizer = nullptr});
  server.add<Scale>("scale.0.0");
  server.add<Scale>("scale.0.1");
  server.start();
  const auto dht = skep::test::client_of(server);
  auto shared = std::make_shared<skep::moe::detail::MixtureCall::Shared>();
  shared->client = std::make_shared<MixtureClient>(
      MixtureOptions{.in_features = 4, .grid_size = {1, 2}, .dht = dht, .uid_prefix = "scale.", .k_best = 2});
  ExpertChoice choice = shared->client->choose({1, 2, 3}, 1);
  REQUIRE(choice.experts.size() == 2);
  CHECK(choice.experts[0].uid == "scale.0.1");
  // a second row that only the first expert serves
  choice.chosen = {0, 1, 0};
  choice.offsets = {0, 2, 3};
  auto contract = shared->client->contract(choice);
  shared->pass = MixturePass::make(std::move(choice), std::move(contract));

  const Tensor x = torch::tensor({{1.F, 2.F, 3.F, 4.F}, {5.F, 6.F, 7.F, 8.F}}).requires_grad_();
  const Tensor learns = torch::empty({0}, at::TensorOptions().requires_grad(true));
  const std::vector<Tensor> inputs{x};
  const auto outputs = skep::moe::detail::MixtureCall::apply(shared, learns, at::TensorList(inputs));
  const Tensor w = torch::linspace(1, 2, 4);
  REQUIRE(outputs.size() == 1);
  CHECK(outputs[0].allclose(x.index_select(0, shared->pass.rows) * w));
  CHECK(shared->pass.answers == std::vector<std::uint32_t>{2, 1});
  outputs[0].sum().backward({}, /*retain_graph=*/true);
  CHECK(x.grad().allclose(torch::stack({2 * w, w})));

  const auto first = torch::autograd::grad({outputs[0].sum()}, {x}, {}, true, true);
  CHECK_THROWS_AS((void)torch::autograd::grad({first[0].sum()}, {x}, {}, false, false, true), skep::Error);
}
