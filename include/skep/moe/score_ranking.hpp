// ScoreRanking: the best coordinates of one dimension of a grid, in order, without sorting the others.
#pragma once

#include <algorithm>
#include <cstddef>
#include <limits>
#include <vector>

#include "skep/moe/expert_choice.hpp"
#include "skep/moe/uid.hpp"

namespace skep::inline v0::moe {

/// Keeps its memory from one ranking to the next.
class ScoreRanking {
 public:
  struct Place {
    Score score = 0;
    Coordinate coordinate = 0;
  };

  /// Puts the best `count` of `size` coordinates in order; linear in `size`, but for those that are kept.
  /// @param scores  float[size], no NaN
  /// @param first   `first(a, b)`: which of two coordinates with equal scores comes first
  /// @return how many are in order
  template <class First>
  std::size_t rank(const Score* scores, std::size_t size, std::size_t count, First first) {
    const auto better = [&first](const Place& a, const Place& b) {
      return a.score != b.score ? a.score > b.score : first(a.coordinate, b.coordinate);
    };
    count = std::min(count, size);
    if (count == 0) return 0;
    const std::size_t room = 2 * count;  // when it is full the worse half goes
    order_.resize(room);
    const auto at = [this](std::size_t i) { return order_.begin() + static_cast<std::ptrdiff_t>(i); };
    std::size_t held = 0;
    Score least = -std::numeric_limits<Score>::infinity();
    for (std::size_t i = 0; i < size; ++i) {
      order_[held] = {scores[i], static_cast<Coordinate>(i)};
      held += scores[i] < least ? 0 : 1;
      if (held < room) continue;
      std::nth_element(at(0), at(count - 1), at(held), better);
      held = count;
      least = order_[count - 1].score;
    }
    std::sort(at(0), at(held), better);
    return count;
  }

  /// A place of the last ranking, the best is 0.
  [[nodiscard]] const Place& operator[](std::size_t place) const noexcept { return order_[place]; }

 private:
  std::vector<Place> order_;
};

}  // namespace skep::inline v0::moe
