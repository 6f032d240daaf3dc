#include "skep/moe/client/expert_inputs.hpp"

#include <string>
#include <tuple>
#include <vector>

// doctest comes last
#include <doctest/doctest.h>

using namespace skep::moe;

static_assert(RemoteSignature<Tensor(Tensor)> && RemoteSignature<Tensor(const Tensor&, Keyword)>);
static_assert(RemoteSignature<TensorTree(TensorTree, std::tuple<Tensor, Tensor>)>);
static_assert(!RemoteSignature<Tensor()> && !RemoteSignature<Tensor(int)> && !RemoteSignature<Keyword(Tensor)>);

namespace {

const Tensor four = torch::zeros({2, 4});
const Tensor one = torch::ones({2, 1});
const Tensor whole = torch::zeros({2, 3}, torch::kLong);

/// forward((x, index), zeta=, alpha=)
ExpertSchema keywords() {
  const BatchTensorDescriptor long3{.size = {3}, .dtype = at::kLong};
  ExpertSchema schema;
  schema.args = SchemaTree::tuple({SchemaTree::tuple({BatchTensorDescriptor{.size = {4}}, long3})});
  schema.keyword_names = {"zeta", "alpha"};
  schema.kwargs =
      SchemaTree::dict({"zeta", "alpha"}, {BatchTensorDescriptor{.size = {4}}, BatchTensorDescriptor{.size = {1}}});
  schema.outputs = BatchTensorDescriptor{.size = {4}};
  return schema;
}
template <class... Inputs>
std::string refusal(const Inputs&... inputs) {
  return ExpertInputs::of(inputs...).arrange(keywords()).refusal.value_or("");
}
using Both = std::tuple<Tensor, Tensor>;

}  // namespace

TEST_CASE("B2.3 inputs by name stand in the order of the wire, however they were written") {
  const auto order = [](const auto&... inputs) { return ExpertInputs::of(inputs...).arrange(keywords()).order; };
  const Both both(four, whole);
  using Order = std::vector<std::size_t>;
  CHECK(order(both, kw("zeta", four), kw("alpha", one)) == Order{0, 1, 3, 2});
  CHECK(order(both, kw("alpha", one), kw("zeta", four)) == Order{0, 1, 2, 3});
  CHECK(order(kw("alpha", one), both, kw("zeta", four)) == Order{1, 2, 0, 3});
  const TensorTree tree = TensorTree::list({four, whole});  // a list is as good as a tuple
  CHECK(order(tree, kw("zeta", four), kw("alpha", one)) == Order{0, 1, 3, 2});
}

TEST_CASE("B2.3 what is unknown, missing, given twice or nested otherwise is told by name") {
  const Both both(four, whole);
  CHECK(refusal(both, kw("zeta", four), kw("alpha", one)).empty());
  CHECK(refusal(both, kw("zeta", four), kw("beta", one)) ==
        "it has no keyword input \"beta\", it takes \"zeta\", \"alpha\"");
  CHECK(refusal(both, kw("zeta", four), kw("zeta", four)) == "the keyword input \"zeta\" is given twice");
  CHECK(refusal(both, kw("zeta", four)) ==
        "its keyword inputs \"alpha\" are missing; they are given by name, as kw(\"alpha\", tensor)");
  CHECK(refusal(both, four, one).find("\"zeta\", \"alpha\" are missing") != std::string::npos);
  CHECK(refusal(four, whole, kw("zeta", four), kw("alpha", one)) ==
        "its inputs are (float32[2, 4], int64[2, 3]), expected ((float32[batch, 4], int64[batch, 3]))");
  CHECK(refusal(both, kw("zeta", one), kw("alpha", one)) ==
        "its keyword input \"zeta\" is float32[2, 1], expected float32[batch, 4]");
  CHECK(refusal(both, kw("zeta", Both(four, one)), kw("alpha", one)).find("is (float32[2, 4], float32[2, 1])") !=
        std::string::npos);
  CHECK_THROWS_AS((void)ExpertInputs::of(Tensor()), skep::Error);
  CHECK_THROWS_AS((void)ExpertInputs::of(TensorTree::tuple({})), skep::Error);
}

TEST_CASE("dictionaries are laid out by sorted key, a schema reads as one line") {
  ExpertSchema schema;
  schema.args = SchemaTree::tuple(
      {SchemaTree::dict({"right", "left"}, {BatchTensorDescriptor{.size = {4}}, BatchTensorDescriptor{.size = {1}}})});
  schema.outputs = SchemaTree::list({BatchTensorDescriptor{.size = {2}}});
  const auto inputs = ExpertInputs::of(TensorTree::dict({"right", "left"}, {four, one}));
  const auto arranged = inputs.arrange(schema);
  REQUIRE_FALSE(arranged.refusal);
  CHECK(inputs.tensors.at(arranged.order.at(0)).is_same(one));
  CHECK(inputs.tensors.at(arranged.order.at(1)).is_same(four));
  CHECK(describe_schema(schema) ==
        "({\"right\": float32[batch, 4], \"left\": float32[batch, 1]}) -> [float32[batch, 2]]");
}
