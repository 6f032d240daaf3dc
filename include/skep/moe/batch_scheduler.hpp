// BatchScheduler: one thread's work, the batches of any number of pools, the most urgent first.
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "skep/core/time.hpp"

namespace skep::inline v0::moe {

/// What a scheduler sees of a pool. The scheduler's mutex is held in every call but `run`.
class ScheduledPool {
 public:
  virtual ~ScheduledPool() = default;

  /// When its next batch may run; nullopt when nothing waits.
  [[nodiscard]] virtual std::optional<SteadyTime> ready_at() = 0;
  /// The arrival of its oldest task; asked only when something waits.
  [[nodiscard]] virtual SteadyTime oldest() const = 0;
  /// Takes its next batch out of its queue.
  virtual void take(SteadyTime now) = 0;
  /// Computes the batch that was taken and hands out the results; must not throw.
  virtual void run() noexcept = 0;
};

/// Shares one thread between pools. Idle, it starts with the first task that comes; busy, it next takes everything that
/// has gathered meanwhile. Among the pools that are ready, the one whose oldest task has waited longest comes first, so
/// no pool starves another. One mutex guards all queues, and the thread is woken once for as many tasks as gather
/// before it looks.
///
/// *Lifetime:* shared by its pools and the thread. *Threads:* every member from any thread; `run` from one.
class BatchScheduler {
 public:
  [[nodiscard]] std::mutex& mutex() noexcept { return mutex_; }

  void attach(std::shared_ptr<ScheduledPool> pool) {
    const std::lock_guard lock(mutex_);
    pools_.push_back(std::move(pool));
  }
  void detach(const ScheduledPool* pool) {
    const std::lock_guard lock(mutex_);
    std::erase_if(pools_, [pool](const auto& other) { return other.get() == pool; });
  }

  /// Says that a task was queued, with the mutex held. @return true when the caller must `wake()` after letting go of
  /// it.
  [[nodiscard]] bool task_added() noexcept { return std::exchange(idle_, false); }
  void wake() noexcept { wake_.notify_one(); }

  /// Runs batches until `stop`; the body of the thread.
  void run() {
    std::unique_lock lock(mutex_);
    while (!stopping_) {
      const SteadyTime now = std::chrono::steady_clock::now();
      SteadyTime next = SteadyTime::max();
      if (const auto pool = most_urgent(now, next)) {
        pool->take(now);
        lock.unlock();
        pool->run();
        lock.lock();
        continue;
      }
      idle_ = true;
      if (next == SteadyTime::max()) {
        wake_.wait(lock, [this] { return !idle_; });
      } else {
        wake_.wait_until(lock, next, [this] { return !idle_; });
        idle_ = false;
      }
    }
  }
  /// Ends `run` after the batch that it is computing. Idempotent.
  void stop() {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    idle_ = false;
    wake_.notify_all();
  }

 private:
  /// The ready pool with the oldest task, or null and the time when one becomes ready.
  [[nodiscard]] std::shared_ptr<ScheduledPool> most_urgent(SteadyTime now, SteadyTime& next) const {
    std::shared_ptr<ScheduledPool> best;
    for (const auto& pool : pools_) {
      const auto ready = pool->ready_at();
      if (!ready) continue;
      if (*ready > now) {
        next = std::min(next, *ready);
      } else if (!best || pool->oldest() < best->oldest()) {
        best = pool;
      }
    }
    return best;
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<std::shared_ptr<ScheduledPool>> pools_;
  bool idle_ = false;
  bool stopping_ = false;
};

}  // namespace skep::inline v0::moe
