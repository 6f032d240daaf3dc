#include "skep/moe/server/expert.hpp"

#include <string>

#include "moe/server/experts.hpp"
// doctest comes last: LibTorch's CHECK must not hide its own
#include <doctest/doctest.h>

using skep::moe::DescribedExpert;
using skep::moe::ExpertModule;

namespace {
struct Texts : torch::nn::Module {
  torch::Tensor forward(const std::string&) { return {}; }
};
struct NoForward : torch::nn::Module {};
struct NoModule {
  torch::Tensor forward(torch::Tensor x) { return x; }
};
}  // namespace

static_assert(ExpertModule<Gated> && ExpertModule<Keywords> && ExpertModule<GatedImpl>);
static_assert(ExpertModule<std::shared_ptr<GatedImpl>>);
static_assert(!ExpertModule<Texts> && !ExpertModule<NoForward> && !ExpertModule<std::shared_ptr<NoModule>>);
static_assert(DescribedExpert<Gated> && DescribedExpert<Keywords> && !DescribedExpert<torch::nn::Linear>);

TEST_CASE("a row is one sample") {
  CHECK(skep::moe::row(5).sizes() == at::IntArrayRef({5}));
  CHECK((skep::moe::row(5, at::kLong).scalar_type() == at::kLong));
}

TEST_CASE("D3 classes are named as Python names them") {
  CHECK(skep::moe::class_name_of(*Gated(2)) == "Gated");
  CHECK(skep::moe::class_name_of(*torch::nn::Linear(2, 2)) == "Linear");
}

TEST_CASE("C1.11 classes take more than the width: values by name, and a wrong one is a sentence") {
  const skep::moe::ExpertOptions options{.hidden_dim = 4,
                                         .extra = {{"heads", "8"}, {"rate", "0.25"}, {"causal", "true"}}};
  CHECK(options.get("heads", 16) == 8);
  CHECK(options.get("rate", 0.5) == 0.25);
  CHECK(options.get("causal", false));
  CHECK(options.get<std::string>("rate", "") == "0.25");
  CHECK(options.get("layers", 3) == 3);
  CHECK_THROWS_WITH_AS((void)options.get("rate", 1), "skep: the extra value rate = \"0.25\" is not a whole number",
                       skep::Error);
  CHECK_THROWS_WITH_AS((void)options.get("heads", true), "skep: the extra value heads = \"8\" is not true or false",
                       skep::Error);
}
