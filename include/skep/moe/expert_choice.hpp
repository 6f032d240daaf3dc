// ExpertChoice: what a search found for a batch, each expert once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "skep/moe/uid.hpp"

namespace skep::inline v0::moe {

/// The experts of a batch: each chosen expert once, and for every row the indices of its experts, best first.
struct ExpertChoice {
  std::vector<ExpertInfo> experts;
  std::vector<std::uint32_t> chosen;   ///< indices into `experts`, row after row
  std::vector<Score> scores;           ///< beside `chosen`
  std::vector<std::uint32_t> offsets;  ///< row r has chosen[offsets[r]] to chosen[offsets[r + 1]]

  [[nodiscard]] std::size_t rows() const noexcept { return offsets.empty() ? 0 : offsets.size() - 1; }
  [[nodiscard]] std::span<const std::uint32_t> row(std::size_t r) const noexcept {
    return {chosen.data() + offsets[r], chosen.data() + offsets[r + 1]};
  }
};

}  // namespace skep::inline v0::moe
