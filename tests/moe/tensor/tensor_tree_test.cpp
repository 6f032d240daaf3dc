#include "skep/moe/tensor/tensor_tree.hpp"

#include <doctest/doctest.h>

using skep::moe::Tree;
using Ints = Tree<int>;

namespace {
// The wire document's example: a dict output {b, a: (p, q)} comes as p, q, b.
Ints sample() { return Ints::dict({"b", "a"}, {3, Ints::tuple({1, 2})}); }
}  // namespace

TEST_CASE("E-10 dictionaries are flattened by sorted key, the rest in order") {
  CHECK(sample().flatten() == std::vector{1, 2, 3});
  CHECK(Ints::tuple({Ints::list({4, 5}), sample(), 6}).flatten() == std::vector{4, 5, 1, 2, 3, 6});
  CHECK(Ints().flatten().empty());
  CHECK(Ints(7).flatten() == std::vector{7});
  CHECK(Ints::dict({"\xc3\xa9", "z", "A"}, {2, 1, 0}).flatten() == std::vector{0, 1, 2});
}

TEST_CASE("E-10 packing gives the same nesting over new leaves") {
  const std::vector<double> leaves{0.5, 1.5, 2.5};
  const auto packed = sample().pack<double>(leaves);
  REQUIRE(packed);
  CHECK(packed->flatten() == leaves);
  CHECK(packed->same_structure(sample()));
  CHECK(packed->keys()[0] == "b");
  CHECK(packed->items()[0].leaf() == 2.5);
}

TEST_CASE("packing a wrong number of leaves is refused") {
  CHECK(sample().pack<double>(std::vector{1.0}).error() == skep::moe::tensor_errc::wrong_structure);
  CHECK(sample().pack<double>(std::vector<double>(4)).error() == skep::moe::tensor_errc::wrong_structure);
}

TEST_CASE("E-10 structures differ by kind, length and keys, not by order of keys or leaves") {
  CHECK(sample().same_structure(Ints::dict({"a", "b"}, {Ints::tuple({9, 9}), 9})));
  CHECK_FALSE(Ints::tuple({1, 2}).same_structure(Ints::list({1, 2})));
  CHECK_FALSE(Ints::tuple({1, 2}).same_structure(Ints::tuple({1})));
  CHECK_FALSE(Ints::dict({"a"}, {1}).same_structure(Ints::dict({"b"}, {1})));
  CHECK_FALSE(Ints(1).same_structure(Ints::tuple({1})));
}
