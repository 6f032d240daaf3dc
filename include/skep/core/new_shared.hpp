// new_shared: std::make_shared for what is not made often. It allocates the object and its count apart, and costs a
// compiler half as much for each type.
#pragma once

#include <memory>
#include <utility>

namespace skep::inline v0 {

template <class T, class... Args>
[[nodiscard]] std::shared_ptr<T> new_shared(Args&&... args) {
  return std::shared_ptr<T>(new T(std::forward<Args>(args)...));
}

}  // namespace skep::inline v0
