// fastest_of_best: among experts that suit a sample equally well, the faster are taken.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <tuple>
#include <vector>

#include "skep/core/time.hpp"
#include "skep/moe/uid.hpp"

namespace skep::inline v0::moe {

/// An expert that may be chosen.
struct RatedExpert {
  Score score = 0;
  Duration delay{};  ///< until its answer is expected; zero: nothing is known, so it is tried
  std::string_view uid;
  std::uint32_t item = 0;  ///< the caller's number for it
};

/// Chooses `count` experts. Each place goes to the fastest of those whose scores lie at most `near_tie` below the best
/// score that is left; among equally fast ones to the higher score, then by uid. With `near_tie` 0 only equal scores
/// are ties. Without delays that is the order of scores for every `near_tie`.
[[nodiscard]] inline std::vector<RatedExpert> fastest_of_best(std::vector<RatedExpert> experts, std::size_t count,
                                                              Score near_tie) {
  const auto better = [](const RatedExpert& a, const RatedExpert& b) {
    return a.score != b.score ? a.score > b.score : a.uid < b.uid;
  };
  std::sort(experts.begin(), experts.end(), better);
  std::vector<RatedExpert> chosen;
  while (chosen.size() < count && !experts.empty()) {
    const Score best = experts.front().score;
    const auto ties_end = std::find_if(experts.begin(), experts.end(), [&](const RatedExpert& e) {
      return e.score != best && !(best - e.score <= near_tie);
    });
    // the first of equally fast ones is the best of them
    const auto fastest = std::min_element(experts.begin(), ties_end,
                                          [](const RatedExpert& a, const RatedExpert& b) { return a.delay < b.delay; });
    chosen.push_back(*fastest);
    experts.erase(fastest);
  }
  return chosen;
}

}  // namespace skep::inline v0::moe
