// FairOrder: whose batch is next on a thread that pools share; a pure class without clock or thread.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>

#include "skep/core/time.hpp"

namespace skep::inline v0::moe {

/// Shares a thread between pools. The pool with the most urgent task comes first, as long as none has computed for
/// much longer than another that waits: then those that had less come first, so a flood of tasks in one pool (they may
/// be older, or more urgent) keeps another's waiting for the `burst` and one batch, not longer. Pools that were idle
/// save nothing up.
class FairOrder {
 public:
  /// What a pool has used, in the time of the thread; kept by the pool's owner.
  struct Account {
    Duration used{};
  };
  /// A pool with a batch that is ready.
  struct Candidate {
    SteadyTime rank;  ///< of its most urgent task; smaller is more urgent
    Duration used{};
  };

  explicit FairOrder(Duration burst = 10ms) noexcept : burst_(burst) {}

  /// A pool that was empty has tasks.
  void enter(Account& account) noexcept { account.used = std::max(account.used, level_); }
  /// A batch of a pool took the thread for so long.
  void charge(Account& account, Duration cost) noexcept {
    account.used += cost;
    most_used_ = std::max(most_used_, account.used);
  }
  /// No pool has tasks: what any had more than another is forgotten.
  void idle() noexcept { level_ = most_used_; }

  /// The index of the one whose turn it is. There is at least one.
  [[nodiscard]] std::size_t next(std::span<const Candidate> candidates) noexcept {
    const auto least =
        std::ranges::min_element(candidates, {}, [](const Candidate& candidate) { return candidate.used; });
    level_ = std::max(level_, least->used);
    auto best = candidates.end();
    for (auto one = candidates.begin(); one != candidates.end(); ++one) {
      if (one->used - least->used > burst_) continue;
      if (best == candidates.end() || one->rank < best->rank) best = one;
    }
    return static_cast<std::size_t>(best - candidates.begin());
  }

 private:
  Duration burst_;
  Duration level_{};  // what the pool that had least has used, of those that waited
  Duration most_used_{};
};

}  // namespace skep::inline v0::moe
