#include "skep/moe/server/layers.hpp"

#include "skep/moe/server/module_backend.hpp"
// doctest comes last: LibTorch's CHECK must not hide its own
#include <doctest/doctest.h>

using namespace skep::moe;  // NOLINT(*-using-namespace)

namespace {
template <class... Ms>
constexpr bool all_described = ((DescribedExpert<Ms> && ExpertModule<Ms>) && ...);
static_assert(all_described<Ffn, Transformer, Nop, NopDelay, DetDropout>);

// The weights and inputs that Hivemind 1.1.12 was given for the outputs below: parameter k of a module holds
// 0.3 sin(0.7 k + i), an input cos(i), i counting its numbers.
template <class Module>
Module filled(Module module) {
  const at::NoGradGuard no_grad;
  double k = 0;
  for (Tensor& parameter : module->parameters()) {
    const auto i = torch::arange(parameter.numel(), at::kDouble);
    parameter.copy_((0.3 * torch::sin(0.7 * k + i)).to(at::kFloat).view(parameter.sizes()));
    ++k;
  }
  return module;
}
Tensor cosines(at::IntArrayRef shape) {
  return torch::cos(torch::arange(c10::multiply_integers(shape), at::kDouble)).to(at::kFloat).view(shape);
}
bool are(const Tensor& tensor, std::vector<float> expected) {
  return at::allclose(tensor.flatten(), torch::tensor(std::move(expected)), 1e-4, 1e-5);
}
template <class Module>
std::vector<std::string> names(const Module& module) {
  std::vector<std::string> names;
  for (const auto& item : module->named_parameters()) names.push_back(item.key());
  return names;
}
}  // namespace

TEST_CASE("C9.1 ffn has 2100736 parameters at 512 and prints FeedforwardBlock") {
  const ModuleBackend<Ffn> backend("ffn.0", {.expert = {.hidden_dim = 512}});
  CHECK(backend.parameter_count() == 2'100'736);
  CHECK(backend.class_name() == "FeedforwardBlock");
  CHECK(backend.schema().args.items()[0].leaf().to_string() == "float32[batch, 512]");
}

TEST_CASE("C9.1 ffn gives what Hivemind's gives for equal weights, under the same names") {
  CHECK(are(filled(Ffn(4))->forward(cosines({2, 4})),
            {0.0427388F, -0.346893F, -0.0400071F, 0.230432F, -0.21457F, -0.15867F, -0.650238F, 0.0152477F}));
  CHECK(names(Ffn(2)) == std::vector<std::string>{"ffn.weight", "ffn.bias", "ffn_output.weight", "ffn_output.bias",
                                                  "layer_norm.weight", "layer_norm.bias"});
}

TEST_CASE("C9.2 transformer has 3152384 parameters at 512 and takes sequences with a mask") {
  const ModuleBackend<Transformer> backend("transformer.0", {.expert = {.hidden_dim = 512}});
  CHECK(backend.parameter_count() == 3'152'384);
  CHECK(backend.class_name() == "TunedTransformer");
  CHECK(backend.schema().inputs()[0].to_string() == "float32[batch, 128, 512]");
  CHECK(backend.schema().inputs()[1].to_string() == "bool[batch, 128]");
  CHECK_THROWS_WITH_AS((void)Transformer(40), "skep: hidden_dim 40 of a transformer is not a multiple of its 16 heads",
                       skep::Error);
}

TEST_CASE("C9.2 transformer gives what Hivemind's gives for equal weights, under the same names") {
  auto transformer = filled(Transformer(16));
  transformer->eval();
  const auto mask = torch::tensor({false, false, true}).view({1, 3});
  CHECK(are(transformer->forward(cosines({1, 3, 16}), mask),
            {0.430633F,  0.174859F,  -0.215958F, -0.201566F,  -0.535249F, -0.0977964F, 0.251495F,   -0.0777457F,
             -0.191793F, -0.314759F, -0.748235F, -0.156243F,  0.160939F,  -0.146547F,  0.12628F,    -0.198982F,
             0.435496F,  0.045175F,  -0.159871F, -0.209772F,  -0.398949F, -0.137767F,  0.255729F,   -0.149326F,
             -0.17014F,  -0.337978F, -0.65657F,  -0.0753384F, 0.188692F,  -0.177592F,  0.00421908F, -0.200579F,
             0.428058F,  0.151225F,  -0.202571F, -0.198624F,  -0.526873F, -0.0979584F, 0.251471F,   -0.0731067F,
             -0.211057F, -0.326752F, -0.757709F, -0.107356F,  0.16821F,   -0.141657F,  0.0831676F,  -0.199381F}));
  CHECK(names(transformer) ==
        std::vector<std::string>{"self_attn.in_proj_weight", "self_attn.in_proj_bias", "self_attn.out_proj.weight",
                                 "self_attn.out_proj.bias", "linear1.weight", "linear1.bias", "linear2.weight",
                                 "linear2.bias", "norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias"});
}

TEST_CASE("C9.4 det_dropout drops by the mask that it is sent, in training, and gives Hivemind's outputs") {
  const ModuleBackend<DetDropout> backend("det_dropout.0", {.expert = {.hidden_dim = 512}});
  CHECK(backend.parameter_count() == 1'050'112);
  CHECK(backend.class_name() == "DeterministicDropoutNetwork");
  CHECK(backend.schema().inputs()[1].to_string() == "int64[batch, 512]");

  ModuleBackend<DetDropout> small("det_dropout.0", filled(DetDropout(4)), std::tuple{row(4), row(4, at::kLong)},
                                  {.optimizer = no_optimizer()});
  const auto x = cosines({2, 4});
  const auto mask = torch::tensor({1, 0, 1, 1, 0, 1, 1, 0}, at::kLong).view({2, 4});
  CHECK(are(small.forward({x, mask})[0],
            {0.382985F, -0.242712F, -0.295246F, -0.00807697F, 0.492351F, 0.0161326F, -0.479936F, -0.213177F}));
  CHECK(are(small.backward({x, mask, torch::ones({2, 4})})[0],
            {0.00744706F, 0, -0.0491691F, -0.0145225F, 0, -0.0274043F, 0.00728228F, 0}));
  small.module()->eval();
  CHECK(are(small.forward({x, mask})[0],
            {0.39381F, -0.176918F, -0.325217F, -0.0651491F, 0.588571F, -0.0455374F, -0.55821F, -0.128729F}));
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

TEST_CASE("C9.3 nop_delay sleeps half a second, or as long as it is told, and is a nop") {
  CHECK(NopDelay(4)->delay == std::chrono::milliseconds(500));
  const BackendOptions options{.expert = {.hidden_dim = 3, .extra = {{"delay", "0.02"}}}};
  ModuleBackend<NopDelay> backend("nop_delay.0", options);
  CHECK(backend.class_name() == "DelayedNopExpert");
  const auto x = torch::randn({2, 3});
  const auto begin = std::chrono::steady_clock::now();
  CHECK(at::equal(backend.forward({x})[0], x));
  CHECK(std::chrono::steady_clock::now() - begin >= std::chrono::milliseconds(20));
}
