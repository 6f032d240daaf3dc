// Measured times: medians and tails, of candidates that take turns within one run.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace skep::bench {

/// The value below which a share of the samples lies; nearest rank. `samples` must not be empty.
[[nodiscard]] inline double quantile(std::vector<double> samples, double share) {
  const auto rank = static_cast<std::size_t>(share * static_cast<double>(samples.size() - 1) + 0.5);
  const auto at = samples.begin() + static_cast<std::ptrdiff_t>(rank);
  std::nth_element(samples.begin(), at, samples.end());
  return *at;
}
[[nodiscard]] inline double median(std::vector<double> samples) { return quantile(std::move(samples), 0.5); }

/// The samples of one candidate, round by round.
class Series {
 public:
  void begin_round() { rounds_.emplace_back(); }
  void add(double sample) { rounds_.back().push_back(sample); }

  [[nodiscard]] std::size_t rounds() const { return rounds_.size(); }
  /// The median of one round.
  [[nodiscard]] double median_of(std::size_t round) const { return median(rounds_[round]); }
  /// Over all rounds.
  [[nodiscard]] double p50() const { return quantile(all(), 0.5); }
  [[nodiscard]] double p99() const { return quantile(all(), 0.99); }

 private:
  [[nodiscard]] std::vector<double> all() const {
    std::vector<double> samples;
    for (const auto& round : rounds_) samples.insert(samples.end(), round.begin(), round.end());
    return samples;
  }

  std::vector<std::vector<double>> rounds_;
};

/// Lets the candidates take turns: machines vary twofold within minutes, so only what ran side by side compares. Each
/// candidate adds samples to its series; the first round only warms up.
/// @return the series in the order of the candidates
[[nodiscard]] inline std::vector<Series> interleave(int rounds,
                                                    const std::vector<std::function<void(Series&)>>& candidates) {
  std::vector<Series> series(candidates.size());
  for (int round = -1; round < rounds; ++round) {
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      Series warm_up;
      Series& to = round < 0 ? warm_up : series[i];
      to.begin_round();
      candidates[i](to);
    }
  }
  return series;
}

/// The median over the rounds of a figure made of each round's medians.
template <class Figure>
[[nodiscard]] double median_over_rounds(std::size_t rounds, Figure figure) {
  std::vector<double> figures;
  for (std::size_t round = 0; round < rounds; ++round) figures.push_back(figure(round));
  return median(std::move(figures));
}

/// Microseconds that an act takes.
template <class Act>
[[nodiscard]] double microseconds(Act&& act) {
  const auto start = std::chrono::steady_clock::now();
  act();
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace skep::bench
