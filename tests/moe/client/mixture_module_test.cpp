#include "skep/moe/client/mixture_module.hpp"

#include "moe/client/swarm.hpp"
#include "moe/server/experts.hpp"
#include "skep/moe/client/mixture.hpp"
#include "skep/moe/client/switch_mixture.hpp"
// doctest comes last
#include <doctest/doctest.h>

using namespace skep::moe;

namespace {

struct Probe : MixtureModule {
  explicit Probe(MixtureOptions options) : MixtureModule("Probe", std::move(options)) {}
  using MixtureModule::begin_pass;
  using MixtureModule::gate_input;
  using MixtureModule::Impossible;
};

}  // namespace

TEST_CASE("B4.1 the gate sees the mean over all dimensions but the first and the last") {
  const Tensor x = torch::arange(24, torch::kFloat).view({2, 3, 2, 2});
  CHECK(Probe::gate_input(x).equal(x.mean(at::IntArrayRef{1, 2})));
  CHECK(Probe::gate_input(x.view({12, 2})).equal(x.view({12, 2})));
}

TEST_CASE("B4.2 one Linear over all dimensions of the grid; coordinates that are impossible are chosen only if asked") {
  skep::test::ExpertServer server({}, {.expert = {.hidden_dim = 4}});
  for (int i = 0; i < 3; ++i) server.add<Scale>("ffn." + std::to_string(i) + ".0");
  server.start();
  const auto client = skep::test::client_of(server);
  Probe probe({.in_features = 4, .grid_size = {3, 2}, .dht = client, .uid_prefix = "ffn.", .k_best = 3});
  CHECK(probe.proj->weight.sizes() == at::IntArrayRef({5, 4}));
  CHECK(probe.proj->bias.sizes() == at::IntArrayRef({5}));
  const float never = -std::numeric_limits<float>::infinity();
  const Tensor scores = torch::tensor({{1.F, never, 3.F, 0.F, 0.F}});
  CHECK(probe.begin_pass(scores).choice.experts.size() == 3);
  CHECK(probe.begin_pass(scores, Probe::Impossible::dropped).choice.experts.size() == 2);
}

TEST_CASE("B2.3 mixtures take inputs by name as their experts do, in any order, and tell what is wrong with them") {
  skep::test::ExpertServer server({}, {.expert = {.hidden_dim = 4}});
  for (int i = 0; i < 2; ++i) server.add<KeywordsOnly>("ffn." + std::to_string(i));
  server.start();
  const auto client = skep::test::client_of(server);
  RemoteMixtureOfExperts<Tensor(Keyword, Keyword)> mixture(
      {.in_features = 4, .grid_size = {2}, .dht = client, .uid_prefix = "ffn.", .k_best = 2});
  const Tensor x = torch::rand({3, 4}).requires_grad_();
  const Tensor scale = torch::full({3, 1}, 2.F).requires_grad_();
  const Tensor y = mixture->forward(kw("input", x), kw("scale", scale));
  CHECK(y.allclose(2 * x));
  y.sum().backward();
  CHECK(scale.grad().allclose(x.sum(1, true)));
  CHECK_THROWS_WITH(
      (void)mixture->forward(kw("input", x), kw("factor", scale)),
      "skep: the experts under \"ffn.\" refused the request: it has no keyword input \"factor\", it takes "
      "\"scale\", \"input\"");
  RemoteSwitchMixtureOfExperts<Tensor(Keyword, Keyword)> last(
      {.in_features = 4, .grid_size = {2}, .dht = client, .uid_prefix = "ffn."});
  last->eval();
  CHECK(std::get<0>(last->forward(kw("input", x), kw("scale", 0 * scale))).equal(x));
}
