// BatchQueue: which waiting tasks go together into the next batch, and when; a pure class without clock or thread.
#pragma once

#include <algorithm>
#include <cstddef>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include "skep/core/error.hpp"
#include "skep/core/result.hpp"
#include "skep/core/time.hpp"

namespace skep::inline v0::moe {

/// When a batch is run and how much may wait.
struct BatchLimits {
  std::size_t max_batch_size = 4096;  ///< samples in one batch; a larger task is refused
  std::size_t min_batch_size = 1;     ///< fewer samples wait for company, but no longer than `timeout`
  Duration timeout = 100ms;           ///< how long the oldest task waits for a batch below the minimum to fill
  std::size_t max_queued = 1024;      ///< tasks that may wait; one more is answered "busy"
};

/// Tasks in the order of their arrival. `Item` is a handle of a task; what it holds is not looked at here.
template <class Item>
class BatchQueue {
 public:
  explicit BatchQueue(BatchLimits limits) : limits_(limits) {}

  /// @return errc::busy when too many tasks wait, errc::limit_exceeded when the task alone is above the maximum.
  [[nodiscard]] Result<void> push(Item item, std::size_t size, SteadyTime now) {
    if (size > limits_.max_batch_size) return errc::limit_exceeded;
    if (waiting_.size() >= limits_.max_queued) return errc::busy;
    waiting_.push_back({std::move(item), size, now});
    samples_ += size;
    return {};
  }

  /// Forgets the tasks for which `is_dropped(item)` at the front, so that they decide nothing.
  template <class Dropped>
  void drop_front(Dropped&& is_dropped) {
    while (!waiting_.empty() && is_dropped(std::as_const(waiting_.front().item))) {
      samples_ -= waiting_.front().size;
      waiting_.pop_front();
    }
  }

  /// When the next batch may run: at once (the arrival of its oldest task) or when the wait for more samples is over.
  /// Nullopt when nothing waits.
  [[nodiscard]] std::optional<SteadyTime> ready_at() const {
    if (waiting_.empty()) return std::nullopt;
    const SteadyTime oldest = waiting_.front().arrived;
    if (samples_ >= limits_.min_batch_size || waiting_.size() >= limits_.max_queued) return oldest;
    return deadline_after(oldest, limits_.timeout);
  }
  /// The arrival of the oldest task: of two queues the one with the smaller value is more urgent.
  [[nodiscard]] std::optional<SteadyTime> oldest() const {
    if (waiting_.empty()) return std::nullopt;
    return waiting_.front().arrived;
  }
  [[nodiscard]] std::size_t size() const noexcept { return waiting_.size(); }
  [[nodiscard]] std::size_t samples() const noexcept { return samples_; }

  /// Takes the oldest task and, in order, all others that go with it, until one does not fit under the maximum any
  /// more. Those with which `same(first, other)` is false stay; those for which `is_dropped(item)` are forgotten.
  template <class Same, class Dropped>
  [[nodiscard]] std::vector<Item> take(Same&& same, Dropped&& is_dropped) {
    std::vector<Item> batch;
    std::size_t total = 0;
    std::size_t kept = 0;  // tasks of another shape, moved to the front of what was looked at
    std::size_t seen = 0;
    for (; seen < waiting_.size(); ++seen) {
      Waiting& task = waiting_[seen];
      if (is_dropped(std::as_const(task.item))) {
        samples_ -= task.size;
      } else if (!batch.empty() && !same(batch.front(), std::as_const(task.item))) {
        if (kept != seen) waiting_[kept] = std::move(task);
        ++kept;
      } else {
        if (total + task.size > limits_.max_batch_size) break;
        total += task.size;
        batch.push_back(std::move(task.item));
      }
    }
    waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(kept),
                   waiting_.begin() + static_cast<std::ptrdiff_t>(seen));
    samples_ -= total;
    return batch;
  }
  /// Takes everything that waits, of whatever shape.
  [[nodiscard]] std::vector<Item> take_all() {
    std::vector<Item> all;
    for (Waiting& task : waiting_) all.push_back(std::move(task.item));
    waiting_.clear();
    samples_ = 0;
    return all;
  }

 private:
  struct Waiting {
    Item item;
    std::size_t size = 0;
    SteadyTime arrived;
  };

  BatchLimits limits_;
  std::deque<Waiting> waiting_;
  std::size_t samples_ = 0;
};

}  // namespace skep::inline v0::moe
