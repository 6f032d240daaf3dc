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
