// Result<T>: a value or an error code, for the pure machines that never throw.
#pragma once

#include <cassert>
#include <concepts>
#include <system_error>
#include <type_traits>
#include <utility>
#include <variant>

namespace skep::inline v0 {

/// A value or the reason why there is none. What foreign bytes lead to is returned, never thrown; a coroutine that
/// drives a machine turns the code into a `skep::Error` with a line of context.
template <class T>
class [[nodiscard]] Result {
 public:
  using value_type = T;

  template <class U = T>
    requires std::constructible_from<T, U> && (!std::same_as<std::remove_cvref_t<U>, Result>) &&
             (!std::is_error_code_enum_v<std::remove_cvref_t<U>>) &&
             (!std::same_as<std::remove_cvref_t<U>, std::error_code>)
  Result(U&& value) : state_(std::in_place_index<0>, std::forward<U>(value)) {}     // NOLINT(*-explicit-*)
  Result(std::error_code error) noexcept : state_(std::in_place_index<1>, error) {  // NOLINT(*-explicit-*)
    assert(error);
  }
  template <class E>
    requires std::is_error_code_enum_v<E>
  Result(E error) noexcept : Result(make_error_code(error)) {}  // NOLINT(*-explicit-*)

  [[nodiscard]] bool has_value() const noexcept { return state_.index() == 0; }
  explicit operator bool() const noexcept { return has_value(); }

  [[nodiscard]] T& operator*() & noexcept { return *std::get_if<0>(&state_); }
  [[nodiscard]] const T& operator*() const& noexcept { return *std::get_if<0>(&state_); }
  [[nodiscard]] T&& operator*() && noexcept { return std::move(*std::get_if<0>(&state_)); }
  [[nodiscard]] T* operator->() noexcept { return std::get_if<0>(&state_); }
  [[nodiscard]] const T* operator->() const noexcept { return std::get_if<0>(&state_); }

  /// The reason, or a code equal to success when there is a value.
  [[nodiscard]] std::error_code error() const noexcept {
    const auto* code = std::get_if<1>(&state_);
    return code ? *code : std::error_code{};
  }

  template <class U>
  [[nodiscard]] T value_or(U&& otherwise) const& {
    return has_value() ? **this : static_cast<T>(std::forward<U>(otherwise));
  }

 private:
  std::variant<T, std::error_code> state_;
};

/// A step that has nothing to return but may fail.
template <>
class [[nodiscard]] Result<void> {
 public:
  using value_type = void;

  Result() noexcept = default;
  Result(std::error_code error) noexcept : error_(error) {}  // NOLINT(*-explicit-*)
  template <class E>
    requires std::is_error_code_enum_v<E>
  Result(E error) noexcept : error_(make_error_code(error)) {}  // NOLINT(*-explicit-*)

  [[nodiscard]] bool has_value() const noexcept { return !error_; }
  explicit operator bool() const noexcept { return has_value(); }
  [[nodiscard]] std::error_code error() const noexcept { return error_; }

 private:
  std::error_code error_;
};

}  // namespace skep::inline v0
