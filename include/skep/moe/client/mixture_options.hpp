// What a user of a remote mixture can choose, and what the mixture reports about each pass.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include "skep/core/time.hpp"
#include "skep/dht/dht.hpp"
#include "skep/moe/penalties.hpp"
#include "skep/moe/uid.hpp"

namespace skep::inline v0::moe {

/// One expert's part in a pass.
struct ExpertReport {
  ExpertInfo expert;
  std::size_t rows = 0;   ///< samples that were sent to it
  std::error_code code;   ///< empty: it answered in time
  std::string sentence;   ///< why it did not
  Duration latency{};     ///< from the request to its answer
  std::size_t bytes = 0;  ///< sent to it
  bool stood_in = false;  ///< it was asked in the place of experts that failed or were late

  [[nodiscard]] bool answered() const noexcept { return !code; }
};

/// One forward or backward pass of a mixture.
struct MixtureReport {
  bool backward = false;
  std::size_t rows = 0;          ///< samples in the batch
  std::size_t rows_without = 0;  ///< of them, those that too few experts answered for
  std::size_t rows_partial = 0;  ///< of them, those whose search was out of time: better experts may have been missed
  Duration duration{};           ///< of the calls, from the first request to the last answer waited for
  std::vector<ExpertReport> experts = {};

  [[nodiscard]] std::size_t alive() const {
    return static_cast<std::size_t>(std::ranges::count_if(experts, &ExpertReport::answered));
  }
  /// How evenly the rows are spread over the experts that were asked: their mean number over the largest, 1 when all
  /// have the same; 0 without experts.
  [[nodiscard]] double load_balance() const {
    std::size_t all = 0;
    std::size_t most = 0;
    for (const auto& expert : experts) {
      all += expert.rows;
      most = std::max(most, expert.rows);
    }
    return most == 0 ? 0 : static_cast<double>(all) / static_cast<double>(experts.size() * most);
  }
  /// The entropy of that spread in bits: log2 of their number when all have the same, 0 when one has everything.
  [[nodiscard]] double entropy() const {
    std::size_t all = 0;
    for (const auto& expert : experts) all += expert.rows;
    double bits = 0;
    for (const auto& expert : experts) {
      const double share = static_cast<double>(expert.rows) / static_cast<double>(all);
      if (expert.rows > 0) bits -= share * std::log2(share);
    }
    return bits;
  }
};

/// Options of a mixture, with Hivemind's names; the first five are required. A time that is not set is 60 s.
struct MixtureOptions {
  std::int64_t in_features;                  ///< last dimension of the input, on which the gate works
  std::vector<Coordinate> grid_size;         ///< how many values each coordinate of the uids has
  dht::DHT dht;                              ///< where experts are found; the mixture keeps a handle
  std::string uid_prefix;                    ///< what all uids begin with
  std::size_t k_best;                        ///< experts that each sample is sent to
  std::size_t k_min = 1;                     ///< answers that each sample must have
  Duration forward_timeout = 60s;            ///< for all answers of a forward pass
  Duration timeout_after_k_min = unlimited;  ///< further wait once every sample has k_min answers or cannot get them
  std::size_t backward_k_min = 1;            ///< of the experts that answered forward, how many must answer backward
  Duration backward_timeout = 60s;           ///< for all answers of a backward pass
  bool detect_anomalies = false;             ///< NaN or infinity in an input is an error, in an answer a failed expert
  bool allow_zero_outputs = false;           ///< zeros for samples without k_min answers, instead of an error
  bool zero_missing_gradients = false;       ///< an expert that misses backward counts as a constant, as in Hivemind
                                             ///< 1.1; by default the others' weights are rescaled to stand for it
  std::size_t num_workers = 0;               ///< see BeamOptions
  Duration cache_time = 5s;                  ///< how long found experts are used without asking the DHT again
  /// How long the search for experts may take, at most `forward_timeout`; then it answers from what is at hand, and the
  /// report says for how many rows.
  Duration time_budget = 60s;
  std::size_t prefetch = 0;                      ///< prefixes read ahead of need after a search, see BeamOptions
  std::optional<Score> near_tie = std::nullopt;  ///< scores that differ by so much go to the faster, see BeamOptions
  PenaltyOptions penalties = {};  ///< how long failed experts are left alone, so that the next best take over
  /// Rows of an expert that fails in a forward pass go to their next best at once. Rows of one that is late go there as
  /// well, and what answers first counts: late is who takes so long, and longer than the average of its server's
  /// answer times and four deviations. `unlimited`: nobody is late. A backward request is never sent twice.
  Duration hedge_after = 100ms;
  std::function<void(const MixtureReport&)> observer = {};  ///< called after each pass on the thread that ran it
};

/// Options of a switch mixture, with Hivemind's names and defaults; the first four are required.
struct SwitchMixtureOptions {
  std::int64_t in_features;  ///< see MixtureOptions, as all that is not explained here
  std::vector<Coordinate> grid_size;
  dht::DHT dht;
  std::string uid_prefix;
  std::size_t k_best = 1;
  std::size_t k_min = 0;
  Duration forward_timeout = 60s;
  Duration timeout_after_k_min = unlimited;
  std::size_t backward_k_min = 0;
  Duration backward_timeout = 60s;
  bool detect_anomalies = false;
  bool allow_zero_outputs = true;  ///< samples without k_min answers pass unchanged, instead of an error
  double utilization_alpha = 0.9;  ///< weight of the past in the running utilization of the coordinates
  double grid_dropout = 1.0;       ///< probability with which a coordinate is kept in training: 1 is off
  double jitter_eps = 0.01;        ///< the gate's input is multiplied by 1 - eps to 1 + eps in training: 0 is off
  std::size_t num_workers = 0;
  Duration cache_time = 5s;
  Duration time_budget = 60s;
  std::size_t prefetch = 0;
  std::optional<Score> near_tie = std::nullopt;
  PenaltyOptions penalties = {};
  Duration hedge_after = 100ms;
  std::function<void(const MixtureReport&)> observer = {};

  /// Those that any mixture has.
  [[nodiscard]] MixtureOptions mixture() const {
    return {.in_features = in_features,
            .grid_size = grid_size,
            .dht = dht,
            .uid_prefix = uid_prefix,
            .k_best = k_best,
            .k_min = k_min,
            .forward_timeout = forward_timeout,
            .timeout_after_k_min = timeout_after_k_min,
            .backward_k_min = backward_k_min,
            .backward_timeout = backward_timeout,
            .detect_anomalies = detect_anomalies,
            .allow_zero_outputs = allow_zero_outputs,
            .num_workers = num_workers,
            .cache_time = cache_time,
            .time_budget = time_budget,
            .prefetch = prefetch,
            .near_tie = near_tie,
            .penalties = penalties,
            .hedge_after = hedge_after,
            .observer = observer};
  }
};

}  // namespace skep::inline v0::moe
