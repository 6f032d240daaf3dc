// AnswerTimes: how long answers usually take, so that one knows when an answer is late.
#pragma once

#include <algorithm>

#include "skep/core/time.hpp"

namespace skep::inline v0::dht {

/// A running mean and deviation of the answer times of all peers (Jacobson's estimator, 1988). An answer that takes
/// longer than mean + 4 deviations is late: then somebody else is asked beside it.
class AnswerTimes {
 public:
  /// @param least, most  bounds of what `late_after` says; before the first answer it is a third of `most`
  explicit AnswerTimes(Duration most, Duration least = 10ms) : least_(std::min(least, most)), most_(most) {}

  void add(Duration answer) {
    if (mean_ == Duration::zero()) {
      mean_ = answer;
      deviation_ = answer / 2;
      return;
    }
    const Duration error = answer > mean_ ? answer - mean_ : mean_ - answer;
    deviation_ += (error - deviation_) / 4;
    mean_ += (answer - mean_) / 8;
  }
  [[nodiscard]] Duration late_after() const noexcept {
    return mean_ == Duration::zero() ? most_ / 3 : std::clamp(mean_ + 4 * deviation_, least_, most_);
  }

 private:
  Duration least_;
  Duration most_;
  Duration mean_{};
  Duration deviation_{};
};

}  // namespace skep::inline v0::dht
