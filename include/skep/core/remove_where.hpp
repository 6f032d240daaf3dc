// remove_where: std::erase_if for vectors, which costs a compiler half as much; every program that includes the library
// compiles a dozen of them.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

namespace skep::inline v0 {

/// Removes the elements for which `condition` holds; the others keep their order.
/// @return how many were removed
template <class T, class Condition>
std::size_t remove_where(std::vector<T>& elements, Condition condition) {
  std::size_t kept = 0;
  for (T& element : elements) {
    if (condition(std::as_const(element))) continue;
    if (&elements[kept] != &element) elements[kept] = std::move(element);
    ++kept;
  }
  const std::size_t removed = elements.size() - kept;
  while (elements.size() > kept) elements.pop_back();
  return removed;
}

}  // namespace skep::inline v0
