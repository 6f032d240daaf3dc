// QUANTILE_8BIT: bins that follow how the values are distributed, each decoded as its average.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "skep/moe/tensor/codecs/codebook.hpp"
#include "skep/moe/tensor/codecs/ordered_keys.hpp"
#include "skep/moe/tensor/codecs/partition.hpp"
#include "skep/moe/tensor/codecs/simd.hpp"

namespace skep::inline v0::moe::codecs {

/// Looks for bins of sorted numbers whose averages are near to what lies in them. Hivemind's bins hold equally many
/// numbers each: too narrow where numbers crowd, too wide at the tails. They are one of two beginnings here; in the
/// other, bins have equal shares of width^(2/3) over stretches of equally many numbers, the best for very many bins.
/// From both, Lloyd's steps lower the squared error, and the better end is taken: never worse than Hivemind's bins.
class BinSearch {
 public:
  /// @param sorted  finite, ascending; must outlive the search
  BinSearch(std::span<const float> sorted, std::size_t levels)
      : sorted_(sorted), levels_(levels), sums_(sorted.size() + 1), squares_(sorted.size() + 1) {
    const double center = sorted.empty() ? 0 : sorted[sorted.size() / 2];
    for (std::size_t i = 0; i < sorted.size(); ++i) {
      const double value = sorted[i] - center;
      sums_[i + 1] = sums_[i] + value;
      squares_[i + 1] = squares_[i] + value * value;
    }
  }

  /// The borders between the bins, ascending; each belongs to the bin below it. Fewer than the levels when fewer bins
  /// already tell all numbers apart.
  [[nodiscard]] std::vector<float> borders() const {
    Cuts cuts = between_distinct();
    if (cuts.size() >= levels_) {
      cuts = improved(of_equal_mass());
      Cuts others = improved(by_width());
      if (squared_error(others) < squared_error(cuts)) cuts = std::move(others);
    }
    std::vector<float> borders;
    borders.reserve(cuts.size());
    for (const std::size_t cut : cuts) borders.push_back(between(sorted_[cut - 1], sorted_[cut]));
    return borders;
  }

 private:
  using Cuts = std::vector<std::size_t>;  // where bins but the first begin: ascending, never between equal numbers

  static constexpr int max_steps = 16;

  /// A number from a on, below b.
  [[nodiscard]] static float between(float a, float b) noexcept {
    const auto middle = static_cast<float>((static_cast<double>(a) + b) / 2);
    return middle < b ? middle : a;
  }
  /// Moves a cut up to where the next number begins.
  void add(Cuts& cuts, std::size_t cut) const {
    while (cut < sorted_.size() && sorted_[cut - 1] == sorted_[cut]) ++cut;
    if (cut < sorted_.size() && (cuts.empty() || cuts.back() < cut)) cuts.push_back(cut);
  }

  /// As many cuts as there are levels say that more would be needed.
  [[nodiscard]] Cuts between_distinct() const {
    Cuts cuts;
    for (std::size_t i = 1; i < sorted_.size() && cuts.size() < levels_; ++i) {
      if (sorted_[i - 1] != sorted_[i]) cuts.push_back(i);
    }
    return cuts;
  }
  /// At the quantiles that Hivemind takes.
  [[nodiscard]] Cuts of_equal_mass() const {
    Cuts cuts;
    for (std::size_t i = 1; i < levels_; ++i) add(cuts, (sorted_.size() - 1) * i / levels_ + 1);
    return cuts;
  }
  [[nodiscard]] Cuts by_width() const {
    const std::size_t last = sorted_.size() - 1;
    const std::size_t stretch = std::max<std::size_t>(1, sorted_.size() / (8 * levels_));
    const auto weight = [&](std::size_t begin) {
      const double width = static_cast<double>(sorted_[std::min(begin + stretch, last)]) - sorted_[begin];
      return std::cbrt(width) * std::cbrt(width);
    };
    double total = 0;
    for (std::size_t begin = 0; begin < last; begin += stretch) total += weight(begin);
    Cuts cuts;
    std::size_t level = 1;
    double below = 0;
    for (std::size_t begin = 0; begin < last; begin += stretch) {
      const double share = weight(begin);
      for (; level < levels_; ++level) {
        const double inside = total * static_cast<double>(level) / static_cast<double>(levels_) - below;
        if (inside > share) break;
        add(cuts, begin + 1 + static_cast<std::size_t>(static_cast<double>(stretch) * inside / share));
      }
      below += share;
    }
    return cuts;
  }

  /// Lloyd's steps: each number to the nearest average, then new averages.
  [[nodiscard]] Cuts improved(Cuts cuts) const {
    for (int step = 0; step < max_steps; ++step) {
      Cuts next;
      next.reserve(cuts.size());
      for (std::size_t bin = 0; bin < cuts.size(); ++bin) {
        const std::size_t begin = bin == 0 ? 0 : cuts[bin - 1];
        const std::size_t end = bin + 1 == cuts.size() ? sorted_.size() : cuts[bin + 1];
        const double middle = (average(begin, cuts[bin]) + average(cuts[bin], end)) / 2;
        const auto from = sorted_.begin();
        const auto at = std::upper_bound(from + static_cast<std::ptrdiff_t>(begin),
                                         from + static_cast<std::ptrdiff_t>(end), middle + center());
        const auto cut = static_cast<std::size_t>(at - from);
        if (cut > 0 && cut < sorted_.size() && (next.empty() || next.back() < cut)) next.push_back(cut);
      }
      if (next == cuts) break;
      cuts = std::move(next);
    }
    return cuts;
  }
  [[nodiscard]] double squared_error(const Cuts& cuts) const {
    double error = 0;
    for (std::size_t bin = 0; bin <= cuts.size(); ++bin) {
      const std::size_t begin = bin == 0 ? 0 : cuts[bin - 1];
      const std::size_t end = bin == cuts.size() ? sorted_.size() : cuts[bin];
      const double sum = sums_[end] - sums_[begin];
      error += squares_[end] - squares_[begin] - sum * sum / static_cast<double>(end - begin);
    }
    return error;
  }
  /// Of the numbers from begin to end, less the center.
  [[nodiscard]] double average(std::size_t begin, std::size_t end) const {
    return (sums_[end] - sums_[begin]) / static_cast<double>(end - begin);
  }
  [[nodiscard]] double center() const { return sorted_[sorted_.size() / 2]; }

  std::span<const float> sorted_;
  std::size_t levels_;
  std::vector<double> sums_;     // of the numbers before an index, less the center
  std::vector<double> squares_;  // and of their squares
};

namespace detail {
inline constexpr std::size_t sample_size = std::size_t{1} << 16;

/// The finite ones of all values, or of one value from each of many equal stretches; which one is drawn by a generator
/// of fixed seed, or the columns of a tensor could fall in step with the stretches.
[[nodiscard]] inline std::vector<float> sorted_sample(std::span<const float> values) {
  std::vector<float> sample;
  if (values.size() <= 2 * sample_size) {
    sample.assign(values.begin(), values.end());
  } else {
    sample.reserve(sample_size);
    std::uint64_t state = 1;
    for (std::size_t i = 0; i < sample_size; ++i) {
      const std::size_t begin = values.size() / sample_size * i;
      state = state * 6364136223846793005U + 1442695040888963407U;  // Knuth's MMIX
      sample.push_back(values[begin + (state >> 33) % (values.size() / sample_size)]);
    }
  }
  std::erase_if(sample, [](float value) { return !std::isfinite(value); });
  sort_numbers(sample);
  return sample;
}
}  // namespace detail

/// Writes one code for every value. @return what the codes stand for
[[nodiscard]] inline Codebook encode_quantile(std::span<const float> values, std::uint8_t* codes,
                                              Levels levels = Levels::all, Simd simd = best_simd()) {
  const Partition partition(BinSearch(detail::sorted_sample(values), count_of(levels)).borders());
  BinAverages averages;
  for (std::size_t begin = 0; begin < values.size(); begin += block_size) {
    const auto block = values.subspan(begin, std::min(block_size, values.size() - begin));
    partition.assign(block, 1, codes + begin, simd);
    if (levels == Levels::besides_non_finite) mark_non_finite(block, codes + begin);
    averages.add(block, codes + begin);
  }
  Codebook codebook = averages.averages();
  if (levels == Levels::besides_non_finite) {
    add_non_finite(codebook);
  } else if (!std::ranges::all_of(codebook, [](float average) { return std::isfinite(average); })) {
    return encode_quantile(values, codes, Levels::besides_non_finite, simd);
  }
  return codebook;
}

}  // namespace skep::inline v0::moe::codecs
