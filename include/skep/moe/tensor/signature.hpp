// Signatures: what an expert takes and returns, read at compile time, and its tensors laid out flat as on the wire.
#pragma once

#include <cstddef>
#include <span>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "skep/moe/tensor/tensor_tree.hpp"

namespace skep::inline v0::moe {

namespace detail {
template <class T>
struct TensorsIn;  // defined for Tensor and for tuples of what it is defined for

template <>
struct TensorsIn<Tensor> {
  static constexpr std::size_t count = 1;
  static void flatten(const Tensor& value, std::vector<Tensor>& out) { out.push_back(value); }
  static Tensor pack(std::span<const Tensor> leaves, std::size_t& next) { return leaves[next++]; }
  template <class Leaf>
  static Tree<Leaf> tree(std::span<const Leaf> leaves, std::size_t& next) {
    return Tree<Leaf>(leaves[next++]);
  }
};

template <class... Ts>
  requires(requires { TensorsIn<std::remove_cvref_t<Ts>>::count; } && ...)
struct TensorsIn<std::tuple<Ts...>> {
  static constexpr std::size_t count = (0 + ... + TensorsIn<std::remove_cvref_t<Ts>>::count);
  static void flatten(const std::tuple<Ts...>& value, std::vector<Tensor>& out) {
    std::apply([&](const auto&... items) { (TensorsIn<std::remove_cvref_t<Ts>>::flatten(items, out), ...); }, value);
  }
  static std::tuple<std::remove_cvref_t<Ts>...> pack(std::span<const Tensor> leaves, std::size_t& next) {
    return std::tuple<std::remove_cvref_t<Ts>...>{TensorsIn<std::remove_cvref_t<Ts>>::pack(leaves, next)...};
  }
  template <class Leaf>
  static Tree<Leaf> tree(std::span<const Leaf> leaves, std::size_t& next) {
    std::vector<Tree<Leaf>> items;
    (items.push_back(TensorsIn<std::remove_cvref_t<Ts>>::template tree<Leaf>(leaves, next)), ...);
    return Tree<Leaf>::tuple(std::move(items));
  }
};

template <class T>
struct SignatureOf;  // undefined for what is neither a function type nor a member function
template <class R, class... Args>
struct SignatureOf<R(Args...)> {
  using Result = std::remove_cvref_t<R>;
  using Arguments = std::tuple<std::remove_cvref_t<Args>...>;
};
template <class C, class R, class... Args>
struct SignatureOf<R (C::*)(Args...)> : SignatureOf<R(Args...)> {};
template <class C, class R, class... Args>
struct SignatureOf<R (C::*)(Args...) const> : SignatureOf<R(Args...)> {};
template <class C, class R, class... Args>
struct SignatureOf<R (C::*)(Args...) noexcept> : SignatureOf<R(Args...)> {};
template <class C, class R, class... Args>
struct SignatureOf<R (C::*)(Args...) const noexcept> : SignatureOf<R(Args...)> {};
}  // namespace detail

/// A tensor, or a tuple of such values: what an expert may take as one argument and may return.
template <class T>
concept TensorValue = requires { detail::TensorsIn<std::remove_cvref_t<T>>::count; };

/// A function type `R(Args...)` or member function of tensors and tuples of tensors, with at least one argument tensor.
template <class S>
concept TensorSignature = requires {
  typename detail::SignatureOf<S>::Result;
  requires TensorValue<typename detail::SignatureOf<S>::Result>;
  requires TensorValue<typename detail::SignatureOf<S>::Arguments>;
  requires(detail::TensorsIn<typename detail::SignatureOf<S>::Arguments>::count > 0);
};

/// The arguments as a tuple of values.
template <TensorSignature S>
using arguments_of_signature = typename detail::SignatureOf<S>::Arguments;

/// How many tensors a value of this type holds.
template <TensorValue T>
inline constexpr std::size_t tensor_count = detail::TensorsIn<std::remove_cvref_t<T>>::count;

/// Appends the tensors of a value, depth first.
template <TensorValue T>
void flatten_into(const T& value, std::vector<Tensor>& out) {
  detail::TensorsIn<T>::flatten(value, out);
}
template <TensorValue T>
[[nodiscard]] std::vector<Tensor> flat_tensors(const T& value) {
  std::vector<Tensor> out;
  out.reserve(tensor_count<T>);
  flatten_into(value, out);
  return out;
}
/// Builds a value from `tensor_count<T>` tensors, depth first. Precondition: `leaves` has exactly so many.
template <TensorValue T>
[[nodiscard]] T pack_tensors(std::span<const Tensor> leaves) {
  std::size_t next = 0;
  return detail::TensorsIn<T>::pack(leaves, next);
}
/// The nesting of a type with other leaves (descriptors). Precondition as of `pack_tensors`.
template <TensorValue T, class Leaf>
[[nodiscard]] Tree<Leaf> tree_of(std::span<const Leaf> leaves) {
  std::size_t next = 0;
  return detail::TensorsIn<T>::template tree<Leaf>(leaves, next);
}

}  // namespace skep::inline v0::moe
