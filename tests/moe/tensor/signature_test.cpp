#include "skep/moe/tensor/signature.hpp"

#include <string>
// doctest comes last: LibTorch's CHECK must not hide its own
#include <doctest/doctest.h>

using skep::moe::Tensor;
using skep::moe::TensorSignature;
using skep::moe::TensorValue;
using Pair = std::tuple<Tensor, Tensor>;

namespace {
struct Module {
  Tensor plain(const Tensor& x, Tensor y) { return x + y; }
  [[nodiscard]] std::tuple<Tensor, Pair> nested(std::tuple<Tensor, Tensor> both) const {
    return {std::get<0>(both), both};
  }
};
}  // namespace

static_assert(TensorValue<Tensor> && TensorValue<std::tuple<Tensor, Pair>> && TensorValue<const Tensor&>);
static_assert(!TensorValue<int> && !TensorValue<std::tuple<Tensor, int>> && !TensorValue<std::string>);
static_assert(TensorSignature<Tensor(Tensor)> && TensorSignature<Tensor(const Tensor&, Pair)>);
static_assert(TensorSignature<decltype(&Module::plain)> && TensorSignature<decltype(&Module::nested)>);
static_assert(!TensorSignature<Tensor(std::string)> && !TensorSignature<void(Tensor)> && !TensorSignature<Tensor()>);
static_assert(skep::moe::tensor_count<std::tuple<Tensor, Pair>> == 3);
static_assert(std::same_as<skep::moe::arguments_of_signature<decltype(&Module::plain)>, Pair>);

TEST_CASE("values flatten and pack by their type, depth first") {
  const auto a = torch::full({1}, 1), b = torch::full({1}, 2), c = torch::full({1}, 3);
  const std::tuple<Tensor, Pair> value{a, {b, c}};
  const auto flat = skep::moe::flat_tensors(value);
  REQUIRE(flat.size() == 3);
  CHECK((flat[0].is_same(a) && flat[1].is_same(b) && flat[2].is_same(c)));
  const auto packed = skep::moe::pack_tensors<std::tuple<Tensor, Pair>>(flat);
  CHECK(std::get<1>(std::get<1>(packed)).is_same(c));
  CHECK(skep::moe::pack_tensors<Tensor>(std::vector{a}).is_same(a));
}

TEST_CASE("a type gives the nesting of its schema") {
  const std::vector<int> leaves{1, 2, 3};
  const auto tree = skep::moe::tree_of<std::tuple<Tensor, Pair>, int>(leaves);
  CHECK(tree.kind() == skep::moe::Tree<int>::Kind::tuple);
  CHECK(tree.flatten() == leaves);
  CHECK(tree.items()[1].items()[1].leaf() == 3);
  CHECK(skep::moe::tree_of<Tensor, int>(leaves).is_leaf());
}
