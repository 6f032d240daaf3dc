// ExpertInputs: the inputs of one call as its caller wrote them, some by name, and where each stands in the request.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <numeric>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "skep/core/error.hpp"
#include "skep/moe/tensor/schema.hpp"
#include "skep/moe/tensor/signature.hpp"
#include "skep/moe/tensor/tensor_tree.hpp"

namespace skep::inline v0::moe {

/// An input that is given by its name. It stands in a signature where its caller will write one:
/// `RemoteExpert<Tensor(Tensor, Keyword)>` is called as `expert->forward(x, kw("mask", m))`.
struct Keyword {
  std::string name;
  TensorTree value;
};
[[nodiscard]] inline Keyword kw(std::string name, TensorTree value) { return {std::move(name), std::move(value)}; }
template <TensorValue T>
  requires(!std::convertible_to<T, TensorTree>)
[[nodiscard]] Keyword kw(std::string name, const T& value) {
  return {std::move(name), tree_of<T, Tensor>(flat_tensors(value))};
}

/// What a remote module takes as one input: a tensor, a tuple of such values, a nesting that is known at run time only,
/// or one of these by name.
template <class T>
concept ExpertInput =
    TensorValue<T> || std::convertible_to<T, TensorTree> || std::same_as<std::remove_cvref_t<T>, Keyword>;

namespace detail {
template <class S>
struct RemoteSignatureOf : std::false_type {};
template <class R, class... Args>
struct RemoteSignatureOf<R(Args...)>
    : std::bool_constant<(TensorValue<R> || std::same_as<std::remove_cvref_t<R>, TensorTree>) && sizeof...(Args) != 0 &&
                         (ExpertInput<Args> && ...)> {};

template <class S>
inline constexpr bool returns_tensors = false;
template <class R, class... Args>
inline constexpr bool returns_tensors<R(Args...)> = TensorValue<R>;

/// A text for each leaf, nested as in Python.
template <class Leaf, class Text>
[[nodiscard]] std::string describe_tree(const Tree<Leaf>& tree, const Text& text) {
  using Kind = typename Tree<Leaf>::Kind;
  if (tree.is_leaf()) return text(tree.leaf());
  const bool dict = tree.kind() == Kind::dict;
  std::string all(dict ? "{" : tree.kind() == Kind::list ? "[" : "(");
  for (std::size_t i = 0; i < tree.items().size(); ++i) {
    if (i > 0) all += ", ";
    if (dict) all += "\"" + printable(tree.keys()[i], 64) + "\": ";
    all += describe_tree(tree.items()[i], text);
  }
  return all + (dict ? "}" : tree.kind() == Kind::list ? "]" : ")");
}

/// The same nesting, tuples for lists: Hivemind takes one for the other.
template <class Leaf>
[[nodiscard]] Tree<Leaf> without_lists(const Tree<Leaf>& tree) {
  if (tree.is_leaf()) return tree;
  std::vector<Tree<Leaf>> items;
  items.reserve(tree.items().size());
  for (const auto& item : tree.items()) items.push_back(without_lists(item));
  if (tree.kind() == Tree<Leaf>::Kind::dict) return Tree<Leaf>::dict(tree.keys(), std::move(items));
  return Tree<Leaf>::tuple(std::move(items));
}
template <class A, class B>
[[nodiscard]] bool nested_alike(const Tree<A>& a, const Tree<B>& b) {
  return a.same_structure(b) || without_lists(a).same_structure(without_lists(b));
}

}  // namespace detail

/// A function type `R(Args...)` of tensors, tuples, trees and keywords: how a remote module is called.
template <class S>
concept RemoteSignature = detail::RemoteSignatureOf<S>::value;

/// The same for a module that adds up what several experts answer.
template <class S>
concept MixtureSignature = RemoteSignature<S> && detail::returns_tensors<S>;

/// Which input stands at each place of a request, or why the expert does not take them.
struct Arrangement {
  std::vector<std::size_t> order;
  std::optional<std::string> refusal;
};

/// The tensors of a call, depth first as their caller wrote them, and how they are nested and named.
class ExpertInputs {
  using Slots = Tree<std::size_t>;  // a leaf is the place of its tensor

 public:
  /// Throws errc::invalid_argument for a tensor that is undefined, and when there is none.
  template <ExpertInput... T>
  [[nodiscard]] static ExpertInputs of(const T&... given) {
    ExpertInputs inputs;
    (inputs.add(given), ...);
    if (inputs.tensors.empty()) throw Error(errc::invalid_argument, "an expert is called with at least one tensor");
    for (const Tensor& tensor : inputs.tensors) {
      if (!tensor.defined()) throw Error(errc::invalid_argument, "one of an expert's inputs is an undefined tensor");
    }
    return inputs;
  }

  std::vector<Tensor> tensors;

  /// The tensors at the places of an order.
  [[nodiscard]] std::vector<Tensor> in(const std::vector<std::size_t>& order) const {
    std::vector<Tensor> ordered;
    ordered.reserve(order.size());
    for (const std::size_t place : order) ordered.push_back(tensors[place]);
    return ordered;
  }
  /// The tensors of a request by a schema. Throws errc::invalid_argument when the inputs do not fit it.
  /// @param who  whose schema it is: "expert ffn.0"
  [[nodiscard]] std::vector<Tensor> arranged(const ExpertSchema& schema, const std::string& who) const {
    const Arrangement found = arrange(schema);
    if (found.refusal) throw Error(errc::invalid_argument, who + " refused the request: " + *found.refusal);
    return in(found.order);
  }
  /// Fits the inputs to a schema: positional ones must be nested as it says (a list is as good as a tuple), each name
  /// of it must be given once and no other. Keyword inputs follow in the order of the wire, whatever the call's.
  [[nodiscard]] Arrangement arrange(const ExpertSchema& schema) const {
    Arrangement found;
    const Slots args = Slots::tuple(args_);
    found.refusal = names_refusal(schema);
    if (!found.refusal && !detail::nested_alike(args, schema.args)) {
      found.refusal = "its inputs are " + described(args) + ", expected " + described(schema.args);
    }
    if (found.refusal) return found;
    args.flatten_into(found.order);
    std::vector<std::string> names;
    std::vector<Slots> values;
    for (const auto& [name, slots] : named_) {
      const SchemaTree& expected = *find(schema, name);
      if (!detail::nested_alike(slots, expected) || !fits(slots, expected)) {
        found.refusal =
            "its keyword input \"" + name + "\" is " + described(slots) + ", expected " + described(expected);
        return found;
      }
      names.push_back(name);
      values.push_back(slots);
    }
    Slots::dict(std::move(names), std::move(values)).flatten_into(found.order);
    return found;
  }

 private:
  template <class T>
  void add(const T& given) {
    if constexpr (std::same_as<T, Keyword>) {
      named_.emplace_back(given.name, take(given.value));
    } else if constexpr (std::convertible_to<T, TensorTree>) {
      args_.push_back(take(given));
    } else {
      args_.push_back(take(tree_of<T, Tensor>(flat_tensors(given))));
    }
  }
  Slots take(const TensorTree& tree) {
    const std::size_t first = tensors.size();
    tree.flatten_into(tensors);
    std::vector<std::size_t> places(tensors.size() - first);
    std::iota(places.begin(), places.end(), first);
    return *tree.pack<std::size_t>(places);
  }

  [[nodiscard]] static const SchemaTree* find(const ExpertSchema& schema, const std::string& name) {
    const auto& names = schema.kwargs.keys();
    const auto at = std::find(names.begin(), names.end(), name);
    return at == names.end() ? nullptr : &schema.kwargs.items()[static_cast<std::size_t>(at - names.begin())];
  }
  [[nodiscard]] std::optional<std::string> names_refusal(const ExpertSchema& schema) const {
    const auto takes = [&] { return ", it takes " + listed(schema.kwargs.keys()); };
    for (std::size_t i = 0; i < named_.size(); ++i) {
      const std::string& name = named_[i].first;
      const auto same = [&](const auto& other) { return other.first == name; };
      if (std::any_of(named_.begin(), named_.begin() + static_cast<std::ptrdiff_t>(i), same)) {
        return "the keyword input \"" + printable(name, 64) + "\" is given twice";
      }
      if (find(schema, name) == nullptr) return "it has no keyword input \"" + printable(name, 64) + "\"" + takes();
    }
    std::vector<std::string> missing;
    for (const std::string& name : schema.kwargs.keys()) {
      if (std::none_of(named_.begin(), named_.end(), [&](const auto& one) { return one.first == name; })) {
        missing.push_back(name);
      }
    }
    if (missing.empty()) return std::nullopt;
    return "its keyword inputs " + listed(missing) + " are missing; they are given by name, as kw(\"" +
           printable(missing.front(), 64) + "\", tensor)";
  }
  [[nodiscard]] static std::string listed(const std::vector<std::string>& names) {
    if (names.empty()) return "none";
    std::string all;
    for (const std::string& name : names) all += (all.empty() ? "\"" : ", \"") + printable(name, 64) + "\"";
    return all;
  }

  [[nodiscard]] bool fits(const Slots& slots, const SchemaTree& expected) const {
    const auto places = slots.flatten();
    const auto descriptors = expected.flatten();
    for (std::size_t i = 0; i < places.size(); ++i) {
      const Tensor& tensor = tensors[places[i]];
      if (!descriptors[i].fits(tensor.sizes(), tensor.scalar_type())) return false;
    }
    return true;
  }
  [[nodiscard]] std::string described(const Slots& slots) const {
    return detail::describe_tree(slots, [&](std::size_t place) {
      return describe_tensor(tensors[place].sizes(), tensors[place].scalar_type());
    });
  }
  [[nodiscard]] static std::string described(const SchemaTree& expected) {
    return detail::describe_tree(expected, [](const BatchTensorDescriptor& d) { return d.to_string(); });
  }

  std::vector<Slots> args_;
  std::vector<std::pair<std::string, Slots>> named_;
};

/// What an expert takes and gives, in one line: "(float32[batch, 4]) -> float32[batch, 4]".
[[nodiscard]] inline std::string describe_schema(const ExpertSchema& schema) {
  const auto text = [](const BatchTensorDescriptor& d) { return d.to_string(); };
  std::string line = detail::describe_tree(schema.args, text);
  if (!schema.kwargs.items().empty()) line += " and " + detail::describe_tree(schema.kwargs, text);
  return printable(line + " -> " + detail::describe_tree(schema.outputs, text));
}

}  // namespace skep::inline v0::moe
