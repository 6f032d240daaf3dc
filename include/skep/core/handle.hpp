// Handle: owns an object of a C library and frees it. std::unique_ptr with a deleter does the same and costs a compiler
// six times as much for each type.
#pragma once

#include <cstddef>
#include <utility>

namespace skep::inline v0 {

/// @tparam Free  what the library frees it with; never called for null
template <class T, void (*Free)(T*)>
class Handle {
 public:
  Handle(std::nullptr_t = nullptr) noexcept {}  // NOLINT(*-explicit-*): as a pointer
  explicit Handle(T* object) noexcept : object_(object) {}
  Handle(Handle&& other) noexcept : object_(other.release()) {}
  Handle& operator=(Handle&& other) noexcept {
    if (this != &other) {
      if (object_ != nullptr) Free(object_);
      object_ = other.release();
    }
    return *this;
  }
  ~Handle() {
    if (object_ != nullptr) Free(object_);
  }

  [[nodiscard]] T* get() const noexcept { return object_; }
  [[nodiscard]] explicit operator bool() const noexcept { return object_ != nullptr; }
  /// Leaves the object to the caller.
  [[nodiscard]] T* release() noexcept { return std::exchange(object_, nullptr); }

 private:
  T* object_ = nullptr;
};

}  // namespace skep::inline v0
