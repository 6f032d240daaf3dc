// Trees: nested tuples, lists and dictionaries of tensors or descriptors, and how they are laid out flat on the wire.
#pragma once

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "skep/core/result.hpp"
#include "skep/moe/tensor/error.hpp"
#include "skep/moe/tensor/torch.hpp"

namespace skep::inline v0::moe {

/// A leaf or a container of trees, as Python nests them. Flattening goes depth first: tuples and lists in order,
/// dictionaries by sorted key (wire-level order of Hivemind, whose strings sort by code point as UTF-8 bytes do).
template <class Leaf>
class Tree {
 public:
  enum class Kind { leaf, tuple, list, dict };

  /// The empty tuple.
  Tree() = default;
  Tree(Leaf leaf) : node_(std::in_place_index<0>, std::move(leaf)) {}  // NOLINT(*-explicit-*): a leaf is a tree
  [[nodiscard]] static Tree tuple(std::vector<Tree> items) { return Tree(Node{Kind::tuple, std::move(items), {}}); }
  [[nodiscard]] static Tree list(std::vector<Tree> items) { return Tree(Node{Kind::list, std::move(items), {}}); }
  /// As many keys as items, each once; their order is kept, though flattening ignores it.
  [[nodiscard]] static Tree dict(std::vector<std::string> keys, std::vector<Tree> items) {
    return Tree(Node{Kind::dict, std::move(items), std::move(keys)});
  }

  [[nodiscard]] Kind kind() const noexcept { return is_leaf() ? Kind::leaf : node().kind; }
  [[nodiscard]] bool is_leaf() const noexcept { return node_.index() == 0; }
  /// The leaf; undefined unless is_leaf().
  [[nodiscard]] const Leaf& leaf() const noexcept { return *std::get_if<0>(&node_); }
  /// The children of a tuple, list or dictionary; undefined for a leaf.
  [[nodiscard]] const std::vector<Tree>& items() const noexcept { return node().items; }
  /// The keys of a dictionary, beside its items; empty for tuples and lists, undefined for a leaf.
  [[nodiscard]] const std::vector<std::string>& keys() const noexcept { return node().keys; }

  /// Calls `f(leaf)` in wire order.
  template <class F>
  void visit(F&& f) const {
    if (is_leaf()) {
      f(leaf());
    } else {
      for (const std::size_t i : wire_order()) items()[i].visit(f);
    }
  }
  /// Appends the leaves in wire order.
  void flatten_into(std::vector<Leaf>& out) const {
    visit([&](const Leaf& leaf) { out.push_back(leaf); });
  }
  [[nodiscard]] std::vector<Leaf> flatten() const {
    std::vector<Leaf> out;
    flatten_into(out);
    return out;
  }
  [[nodiscard]] std::size_t leaf_count() const {
    std::size_t count = 0;
    visit([&](const Leaf&) { ++count; });
    return count;
  }
  /// A tree of the same nesting over other leaves. @return tensor_errc::wrong_structure when the counts differ.
  template <class Other>
  [[nodiscard]] Result<Tree<Other>> pack(std::span<const Other> leaves) const {
    if (leaves.size() != leaf_count()) return tensor_errc::wrong_structure;
    std::size_t next = 0;
    return pack_from<Other>(leaves, next);
  }
  /// True when both nest the same kinds, lengths and keys, whatever the leaves are.
  template <class Other>
  [[nodiscard]] bool same_structure(const Tree<Other>& other) const {
    if (static_cast<int>(kind()) != static_cast<int>(other.kind())) return false;
    if (is_leaf()) return true;
    return std::ranges::equal(wire_order(), other.wire_order(), [&](std::size_t a, std::size_t b) {
      return (kind() != Kind::dict || keys()[a] == other.keys()[b]) && items()[a].same_structure(other.items()[b]);
    });
  }

 private:
  template <class>
  friend class Tree;

  struct Node {
    Kind kind = Kind::tuple;
    std::vector<Tree> items;
    std::vector<std::string> keys;
  };

  explicit Tree(Node node) : node_(std::in_place_index<1>, std::move(node)) {}

  [[nodiscard]] const Node& node() const noexcept { return *std::get_if<1>(&node_); }

  /// The positions of the items, a dictionary's by sorted key.
  [[nodiscard]] std::vector<std::size_t> wire_order() const {
    std::vector<std::size_t> order(items().size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    if (kind() == Kind::dict) {
      std::ranges::sort(order, {}, [&](std::size_t i) -> const std::string& { return keys()[i]; });
    }
    return order;
  }

  template <class Other>
  [[nodiscard]] Tree<Other> pack_from(std::span<const Other> leaves, std::size_t& next) const {
    if (is_leaf()) return Tree<Other>(leaves[next++]);
    std::vector<Tree<Other>> packed(items().size());
    for (const std::size_t i : wire_order()) packed[i] = items()[i].template pack_from<Other>(leaves, next);
    using Packed = typename Tree<Other>::Node;
    return Tree<Other>(Packed{static_cast<typename Tree<Other>::Kind>(kind()), std::move(packed), keys()});
  }

  std::variant<Leaf, Node> node_{std::in_place_index<1>};
};

/// Nested tensors whose nesting is known at run time only.
using TensorTree = Tree<Tensor>;

}  // namespace skep::inline v0::moe
