// Result<T>: a value or an error code, for the pure machines that never throw.
#pragma once

#include <cassert>
#include <new>
#include <system_error>
#include <type_traits>
#include <utility>

namespace skep::inline v0 {

/// A value or the reason why there is none. What foreign bytes lead to is returned, never thrown; a coroutine that
/// drives a machine turns the code into a `skep::Error` with a line of context.
template <class T>
class [[nodiscard]] Result {
  static_assert(std::is_nothrow_move_constructible_v<T>);

 public:
  using value_type = T;

  Result(T value) noexcept : value_(std::move(value)) {}                     // NOLINT(*-explicit-*)
  Result(std::error_code error) noexcept : error_(error) { assert(error); }  // NOLINT(*-explicit-*)
  template <class E>
    requires std::is_error_code_enum_v<E>
  Result(E error) noexcept : Result(make_error_code(error)) {}  // NOLINT(*-explicit-*)
  Result(Result&& other) noexcept : error_(other.error_) {
    if (has_value()) new (&value_) T(std::move(other.value_));
  }
  Result(const Result& other)
    requires std::is_copy_constructible_v<T>
      : error_(other.error_) {
    if (has_value()) new (&value_) T(other.value_);
  }
  Result& operator=(Result other) noexcept {
    if (has_value()) value_.~T();
    error_ = other.error_;
    if (has_value()) new (&value_) T(std::move(other.value_));
    return *this;
  }
  ~Result() {
    if (has_value()) value_.~T();
  }

  [[nodiscard]] bool has_value() const noexcept { return !error_; }
  explicit operator bool() const noexcept { return has_value(); }

  // when has_value()
  [[nodiscard]] T& operator*() & noexcept { return value_; }
  [[nodiscard]] const T& operator*() const& noexcept { return value_; }
  [[nodiscard]] T&& operator*() && noexcept { return std::move(value_); }
  [[nodiscard]] T* operator->() noexcept { return &value_; }
  [[nodiscard]] const T* operator->() const noexcept { return &value_; }

  /// The reason, or a code equal to success when there is a value.
  [[nodiscard]] std::error_code error() const noexcept { return error_; }

  template <class U>
  [[nodiscard]] T value_or(U&& otherwise) const& {
    return has_value() ? value_ : static_cast<T>(std::forward<U>(otherwise));
  }

 private:
  union {
    T value_;  // lives while there is no error
  };
  std::error_code error_;
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
