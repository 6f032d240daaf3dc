// Admission: whether a pool lets a task in, where it stands then, and when one that was refused may try again; pure.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "skep/core/error.hpp"
#include "skep/core/result.hpp"
#include "skep/core/time.hpp"
#include "skep/moe/pool_options.hpp"

namespace skep::inline v0::moe {

/// The largest task that a pool takes, in samples.
[[nodiscard]] constexpr std::size_t max_task_size(const TaskPoolOptions& options) noexcept {
  constexpr std::size_t batches = 16;
  if (options.max_task_size != 0) return options.max_task_size;
  return options.max_batch_size > std::numeric_limits<std::size_t>::max() / batches ? options.max_batch_size
                                                                                    : batches * options.max_batch_size;
}

/// In how many batches a task of `size` samples is computed.
[[nodiscard]] constexpr std::size_t chunk_count(const TaskPoolOptions& options, std::size_t size) noexcept {
  if (size <= options.max_batch_size || options.oversize == Oversize::whole) return 1;
  return (size - 1) / options.max_batch_size + 1;
}

/// Whether a task may join `queued` others, the chunks of large ones counted each.
/// @return errc::limit_exceeded when it is too large ever, errc::busy when too many wait now; an empty pool is never
///         busy.
[[nodiscard]] inline Result<void> admit(const TaskPoolOptions& options, std::size_t size, std::size_t queued) noexcept {
  if (size > max_task_size(options)) return errc::limit_exceeded;
  const std::size_t chunks = chunk_count(options, size);
  if (queued > 0 && (queued >= options.max_queued || chunks > options.max_queued - queued)) return errc::busy;
  return {};
}

/// Where a task stands among others: of two the one with the smaller rank goes first. The rank does not depend on when
/// it is looked at, so every task is at some time the first.
[[nodiscard]] inline SteadyTime rank(const TaskPoolOptions& options, const TaskOptions& task, std::size_t size,
                                     SteadyTime submitted) noexcept {
  constexpr double limit = 1e18;  // ns; 30 years either way
  const double later = task.priority * static_cast<double>(options.ageing.count()) +
                       static_cast<double>(size) * static_cast<double>(options.small_first.count());
  return submitted + Duration(static_cast<std::int64_t>(std::clamp(later, -limit, limit)));
}

/// How long batches take, as a + b * samples fitted to those that were measured, the later the more they count.
class BatchCost {
 public:
  void add(std::size_t samples, Duration took) noexcept {
    const auto n = static_cast<double>(samples);
    const auto t = static_cast<double>(took.count());
    constexpr double kept = 0.9;
    const double share = 1 / (weight_ = kept * weight_ + 1);
    const double off_n = n - samples_;
    const double off_t = t - time_;
    samples_ += share * off_n;
    time_ += share * off_t;
    variance_ = (1 - share) * (variance_ + share * off_n * off_n);
    covariance_ = (1 - share) * (covariance_ + share * off_n * off_t);
  }
  [[nodiscard]] bool known() const noexcept { return weight_ > 0; }

  /// Of one batch.
  [[nodiscard]] Duration estimate(std::size_t samples) const noexcept {
    const double slope = variance_ > 1e-6 ? std::max(covariance_ / variance_, 0.0) : 0.0;
    const double t = std::max(time_ + slope * (static_cast<double>(samples) - samples_), 0.0);
    return Duration(static_cast<std::int64_t>(std::min(t, 1e18)));
  }

 private:
  double weight_ = 0;
  double samples_ = 0;  // means, and how both vary
  double time_ = 0;
  double variance_ = 0;
  double covariance_ = 0;
};

/// When what waits will have been computed, and a task that was refused may come again: in whole milliseconds, 1 at
/// least; `otherwise` while no batch was measured.
[[nodiscard]] inline std::chrono::milliseconds retry_after(const BatchCost& cost, std::size_t samples,
                                                           std::size_t max_batch_size, Duration otherwise) noexcept {
  constexpr double most = 3'600'000;  // an hour
  double wait = static_cast<double>(otherwise.count());
  if (cost.known()) {
    const std::size_t full = samples / max_batch_size;
    const std::size_t rest = samples % max_batch_size;
    wait = static_cast<double>(full) * static_cast<double>(cost.estimate(max_batch_size).count());
    if (rest > 0) wait += static_cast<double>(cost.estimate(rest).count());
  }
  return std::chrono::milliseconds(static_cast<std::int64_t>(std::clamp(wait / 1e6 + 0.999, 1.0, most)));
}

}  // namespace skep::inline v0::moe
