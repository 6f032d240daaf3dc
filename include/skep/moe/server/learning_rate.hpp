// LearningRateSchedule: how the learning rate of an expert changes with the steps of its optimizer.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>

#include "skep/core/error.hpp"

namespace skep::inline v0::moe {

/// By what factor the optimizer's learning rate is multiplied. `linear` is Hivemind's "linear": it rises from 0 to 1
/// over the warm-up and falls back to 0 at the last training step, where it stays.
struct LearningRateSchedule {
  enum class Kind { none, linear };

  Kind kind = Kind::none;
  std::int64_t num_warmup_steps = 0;
  std::int64_t num_training_steps = 0;  ///< required for `linear`

  /// The factor of the step after `step` others.
  [[nodiscard]] constexpr double factor(std::int64_t step) const noexcept {
    if (kind == Kind::none) return 1;
    const auto at_least_one = [](std::int64_t n) { return static_cast<double>(std::max<std::int64_t>(1, n)); };
    if (step < num_warmup_steps) return static_cast<double>(step) / at_least_one(num_warmup_steps);
    const auto left = static_cast<double>(num_training_steps - step);
    return std::max(0.0, left / at_least_one(num_training_steps - num_warmup_steps));
  }

  friend bool operator==(const LearningRateSchedule&, const LearningRateSchedule&) = default;
};

/// Throws errc::invalid_argument with a sentence when the steps of a schedule do not fit.
inline void check(const LearningRateSchedule& schedule) {
  if (schedule.kind == LearningRateSchedule::Kind::none) return;
  if (schedule.num_warmup_steps < 0 || schedule.num_training_steps < 1 ||
      schedule.num_training_steps < schedule.num_warmup_steps) {
    throw Error(errc::invalid_argument,
                "a linear schedule needs num_training_steps, at least 1 and not below num_warmup_steps");
  }
}

/// "linear" or "none", as `--scheduler` takes them. Throws errc::invalid_argument for others.
[[nodiscard]] inline LearningRateSchedule::Kind schedule_of_name(std::string_view name) {
  if (name == "linear") return LearningRateSchedule::Kind::linear;
  if (name == "none") return LearningRateSchedule::Kind::none;
  throw Error(errc::invalid_argument, "\"" + printable(name) + "\" is no schedule: linear and none are");
}

}  // namespace skep::inline v0::moe
