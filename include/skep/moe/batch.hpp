// Batches: what can be joined and split again, and so can pass through a TaskPool together with others.
#pragma once

#include <concepts>
#include <cstddef>
#include <functional>
#include <iterator>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

namespace skep::inline v0::moe {

/// How a type is a batch; specialise it for a type of your own with `size`, `join`, `split`, and, where not every two
/// values can be joined, `same_shape(a, b)`.
template <class B>
struct BatchTraits;

/// A vector is a batch of its elements.
template <class T>
struct BatchTraits<std::vector<T>> {
  [[nodiscard]] static std::size_t size(const std::vector<T>& batch) noexcept { return batch.size(); }
  [[nodiscard]] static std::vector<T> join(std::span<const std::vector<T>> parts) {
    std::size_t total = 0;
    for (const auto& part : parts) total += part.size();
    std::vector<T> joined;
    joined.reserve(total);
    for (const auto& part : parts) joined.insert(joined.end(), part.begin(), part.end());
    return joined;
  }
  [[nodiscard]] static std::vector<std::vector<T>> split(std::vector<T> batch, std::span<const std::size_t> sizes) {
    std::vector<std::vector<T>> parts;
    parts.reserve(sizes.size());
    auto next = std::make_move_iterator(batch.begin());
    for (const std::size_t size : sizes) {
      const auto end = next + static_cast<std::ptrdiff_t>(size);
      parts.emplace_back(next, end);
      next = end;
    }
    return parts;
  }
};

/// A type whose values can be joined into one and split again: `BatchTraits<B>` says how.
template <class B>
concept Batchable =
    std::movable<B> && requires(const B& batch, B owned, std::span<const B> parts, std::span<const std::size_t> sizes) {
      { BatchTraits<B>::size(batch) } -> std::convertible_to<std::size_t>;
      { BatchTraits<B>::join(parts) } -> std::same_as<B>;
      { BatchTraits<B>::split(std::move(owned), sizes) } -> std::same_as<std::vector<B>>;
    };

/// Whether two batches may be joined.
template <Batchable B>
[[nodiscard]] bool same_shape(const B& a, const B& b) {
  if constexpr (requires { BatchTraits<B>::same_shape(a, b); }) {
    return BatchTraits<B>::same_shape(a, b);
  } else {
    return true;
  }
}

namespace detail {
/// Stands for the batch type of a function that does not tell it; batchable, so that the sentence comes first.
struct UnknownBatch {};

template <class F>
struct ArgumentOf {
  using type = UnknownBatch;
};
template <class R, class A>
struct ArgumentOf<R (*)(A)> {
  using type = std::remove_cvref_t<A>;
};
template <class F, class R, class A>
struct ArgumentOf<R (F::*)(A)> : ArgumentOf<R (*)(A)> {};
template <class F, class R, class A>
struct ArgumentOf<R (F::*)(A) const> : ArgumentOf<R (*)(A)> {};
template <class F, class R, class A>
struct ArgumentOf<R (F::*)(A) noexcept> : ArgumentOf<R (*)(A)> {};
template <class F, class R, class A>
struct ArgumentOf<R (F::*)(A) const noexcept> : ArgumentOf<R (*)(A)> {};
template <class F>
  requires requires { &F::operator(); }
struct ArgumentOf<F> : ArgumentOf<decltype(&F::operator())> {};
}  // namespace detail

template <>
struct BatchTraits<detail::UnknownBatch> {
  static std::size_t size(const detail::UnknownBatch&) noexcept;
  static detail::UnknownBatch join(std::span<const detail::UnknownBatch>);
  static std::vector<detail::UnknownBatch> split(detail::UnknownBatch, std::span<const std::size_t>);
};

/// The type that a function with one parameter takes, read from its only operator().
template <class F>
using argument_t = typename detail::ArgumentOf<F>::type;

}  // namespace skep::inline v0::moe
