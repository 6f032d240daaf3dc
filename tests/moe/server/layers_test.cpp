#include "skep/moe/server/layers.hpp"

#include "skep/moe/server/module_backend.hpp"
// doctest comes last: LibTorch's CHECK must not hide its own
#include <doctest/doctest.h>

using namespace skep::moe;  // NOLINT(*-using-namespace)

static_assert(DescribedExpert<Ffn> && DescribedExpert<Nop> && ExpertModule<Ffn> && ExpertModule<Nop>);

TEST_CASE("C9.1 ffn has 2100736 parameters at 512 and prints FeedforwardBlock") {
  const ModuleBackend<Ffn> backend("ffn.0", {.expert = {.hidden_dim = 512}});
  CHECK(backend.parameter_count() == 2'100'736);
  CHECK(backend.class_name() == "FeedforwardBlock");
  CHECK(backend.schema().args.items()[0].leaf().to_string() == "float32[batch, 512]");
}

TEST_CASE("C9.1 ffn computes LayerNorm(x + W2 gelu(W1 x)) with the fast gelu") {
  torch::manual_seed(1);
  Ffn ffn(16);
  const auto x = torch::randn({5, 16});
  const auto h = ffn->ffn->forward(x);
  const auto gelu = 0.5 * h * (1 + torch::tanh(0.7978845608 * h * (1 + 0.044715 * h * h)));
  const auto z = x + ffn->ffn_output->forward(gelu);
  const auto centred = z - z.mean(-1, true);
  const auto expected = centred / (centred.square().mean(-1, true) + 1e-12).sqrt();
  CHECK(at::allclose(ffn->forward(x), expected, 1e-5, 1e-6));
}

TEST_CASE("C9.1 ffn names its parameters as Hivemind's does") {
  std::vector<std::string> names;
  for (const auto& item : Ffn(2)->named_parameters()) names.push_back(item.key());
  CHECK(names == std::vector<std::string>{"ffn.weight", "ffn.bias", "ffn_output.weight", "ffn_output.bias",
                                          "layer_norm.weight", "layer_norm.bias"});
}

TEST_CASE("C9.3 nop gives back a copy and has no parameters to count") {
  ModuleBackend<Nop> nop("nop.0", {.expert = {.hidden_dim = 3}});
  CHECK(nop.parameter_count() == 0);
  CHECK(nop.class_name() == "NopExpert");
  const auto x = torch::randn({2, 3});
  const auto g = torch::randn({2, 3});
  const auto y = nop.forward({x});
  CHECK(at::equal(y[0], x));
  CHECK_FALSE(y[0].is_same(x));
  CHECK(at::equal(nop.backward({x, g})[0], g));
}
