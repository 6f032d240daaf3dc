// The mixture of the main job with its experts in other processes, and what it tells while it trains.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "history.hpp"
#include "skep/dht.hpp"
#include "skep/moe.hpp"
#include "swarm.hpp"
#include "training.hpp"

namespace example {

using namespace std::chrono_literals;

/// Joins a swarm as a client and makes the mixture over the experts of its grid, width 64.
class RemoteExperts {
 public:
  /// No step may wait longer for its experts, forward and backward together twice that.
  static constexpr auto deadline = 2s;

  RemoteExperts(const std::vector<std::string>& initial_peers, Grid grid)
      : grid_(grid), dht_({.initial_peers = initial_peers, .client_mode = true}) {}

  [[nodiscard]] skep::moe::RemoteMixtureOfExperts<> mixture() {
    return skep::moe::RemoteMixtureOfExperts<>(
        {.in_features = 64,
         .grid_size = {grid_.side, grid_.side},
         .dht = dht_,
         .uid_prefix = "ffn.",
         .k_best = 4,
         .k_min = 1,
         .forward_timeout = deadline,
         .timeout_after_k_min = 500ms,
         .backward_timeout = deadline,
         .allow_zero_outputs = true,
         .observer = [tally = tally_](const auto& report) { tally->add(report); }});
  }

  [[nodiscard]] Insight insight() const {
    return {[tally = tally_] { return std::exchange(tally->rows, {}); }, [tally = tally_] { return tally->updates; },
            [tally = tally_] { return tally->alive(); }};
  }

 private:
  /// Adds up the reports of the mixture, on the training thread.
  struct Tally {
    using Clock = std::chrono::steady_clock;

    void add(const skep::moe::MixtureReport& report) {
      for (const auto& one : report.experts) {
        const auto& uid = one.expert.uid;
        if (!one.answered()) {
          answered_at.erase(uid);
        } else if (report.backward) {
          ++updates[uid];
        } else {
          rows[uid] += static_cast<std::int64_t>(one.rows);
          answered_at[uid] = Clock::now();
        }
      }
    }
    [[nodiscard]] std::size_t alive() const {
      std::size_t count = 0;
      for (const auto& [uid, when] : answered_at) count += Clock::now() - when < 5s ? 1 : 0;
      return count;
    }

    Load rows, updates;
    std::map<std::string, Clock::time_point> answered_at;
  };

  Grid grid_;
  skep::dht::DHT dht_;
  std::shared_ptr<Tally> tally_ = std::make_shared<Tally>();
};

}  // namespace example
