// ExpertChoice: what a search found for a batch, each expert once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include "skep/moe/uid.hpp"

namespace skep::inline v0::moe {

/// The experts of one sample, best first.
struct BestExperts : std::vector<ExpertInfo> {
  bool partial = false;  ///< time was over before all was looked up: better experts may be alive
};

/// The experts of a batch: each chosen expert once, and for every row the indices of its experts, best first.
struct ExpertChoice {
  std::vector<ExpertInfo> experts;
  std::vector<std::uint32_t> chosen;   ///< indices into `experts`, row after row
  std::vector<Score> scores;           ///< beside `chosen`
  std::vector<std::uint32_t> offsets;  ///< row r has chosen[offsets[r]] to chosen[offsets[r + 1]]
  std::vector<bool> partial;           ///< rows whose search ended before all was looked up; empty: none

  [[nodiscard]] std::size_t rows() const noexcept { return offsets.empty() ? 0 : offsets.size() - 1; }
  [[nodiscard]] std::span<const std::uint32_t> row(std::size_t r) const noexcept {
    return {chosen.data() + offsets[r], chosen.data() + offsets[r + 1]};
  }
  /// Whether better experts may have been missed for want of time.
  [[nodiscard]] bool is_partial(std::size_t r) const noexcept { return !partial.empty() && partial[r]; }

  /// Takes experts whose score is minus infinity out of the rows, and those that no row has any more out of `experts`.
  void drop_impossible() {
    constexpr std::uint32_t unused = std::numeric_limits<std::uint32_t>::max();
    std::vector<std::uint32_t> place(experts.size(), unused);
    std::vector<ExpertInfo> used;
    std::uint32_t kept = 0;
    std::uint32_t next = 0;  // entry to look at
    for (std::size_t r = 0; r < rows(); ++r) {
      for (const std::uint32_t end = offsets[r + 1]; next < end; ++next) {
        if (scores[next] == -std::numeric_limits<Score>::infinity()) continue;
        std::uint32_t& expert = place[chosen[next]];
        if (expert == unused) {
          expert = static_cast<std::uint32_t>(used.size());
          used.push_back(std::move(experts[chosen[next]]));
        }
        chosen[kept] = expert;
        scores[kept++] = scores[next];
      }
      offsets[r + 1] = kept;
    }
    chosen.resize(kept);
    scores.resize(kept);
    experts = std::move(used);
  }
};

}  // namespace skep::inline v0::moe
