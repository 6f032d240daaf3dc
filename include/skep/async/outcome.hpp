// Outcome: what a coroutine ended with, its value or what it threw.
#pragma once

#include <exception>
#include <optional>
#include <type_traits>
#include <utility>
#include <variant>

#include "skep/async/awaitable.hpp"

namespace skep::inline v0 {

/// The end of an `awaitable<T>`; before the end it is empty.
template <class T>
class Outcome {
 public:
  using Stored = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

  [[nodiscard]] bool has_value() const noexcept { return value_.has_value(); }
  explicit operator bool() const noexcept { return has_value(); }
  [[nodiscard]] const Stored& operator*() const& noexcept { return *value_; }
  [[nodiscard]] Stored& operator*() & noexcept { return *value_; }
  [[nodiscard]] const Stored* operator->() const noexcept { return &*value_; }
  /// What it threw; null when there is a value.
  [[nodiscard]] const std::exception_ptr& error() const noexcept { return error_; }

  /// The value, or throws what the coroutine threw.
  T get() && {
    if (error_) std::rethrow_exception(error_);
    if constexpr (!std::is_void_v<T>) return std::move(*value_);
  }

  template <class... Args>
  void set_value(Args&&... args) {
    value_.emplace(std::forward<Args>(args)...);
  }
  void set_error(std::exception_ptr error) noexcept { error_ = std::move(error); }

 private:
  std::optional<Stored> value_;
  std::exception_ptr error_;
};

namespace detail {

/// Runs a coroutine and keeps what it ended with; `outcome` must live until then. Throws nothing.
template <class T>
awaitable<void> run_into(awaitable<T> operation, Outcome<T>& outcome) {
  try {
    if constexpr (std::is_void_v<T>) {
      co_await std::move(operation);
      outcome.set_value();
    } else {
      outcome.set_value(co_await std::move(operation));
    }
  } catch (...) {
    outcome.set_error(std::current_exception());
  }
}

}  // namespace detail

}  // namespace skep::inline v0
