// BatchScheduler: one thread's work, the batches of any number of pools, whose turn it is first.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "skep/core/time.hpp"
#include "skep/moe/fair_order.hpp"

namespace skep::inline v0::moe {

/// What a scheduler sees of a pool.
class ScheduledPool {
 public:
  virtual ~ScheduledPool() = default;

  /// Moves what was submitted out of the inbox; `inbox_mutex` is held, as short as can be. In all others but
  /// `process_batch` `mutex` is.
  virtual void collect() noexcept = 0;
  /// Sorts what was collected into its queue; then says when its next batch may run, or it must be asked again. Nullopt
  /// when nothing waits.
  [[nodiscard]] virtual std::optional<SteadyTime> ready_at(SteadyTime now) = 0;
  /// The rank of the most urgent task of its next batch; smaller is more urgent.
  [[nodiscard]] virtual SteadyTime priority(SteadyTime now) const = 0;
  /// Takes its next batch out of its queue.
  virtual void load_batch(SteadyTime now) = 0;
  /// Computes the batch that was loaded and hands out the results; no mutex is held.
  virtual void process_batch() noexcept = 0;

 private:
  friend class BatchScheduler;
  FairOrder::Account account_;
  bool submitted_ = false;  // to since it was last collected
  bool waiting_ = false;    // with tasks in its queue
};

/// Shares one thread between pools. Idle, it starts with the first task that comes; busy, it next takes everything that
/// has gathered meanwhile: nothing is chosen ahead of time. Whose turn it is says `FairOrder`. Submitting takes one
/// lock, which the thread holds only to take over what was submitted; a thread that sleeps is woken once for as many
/// tasks as gather before it looks. A pool without tasks costs nothing.
///
/// *Lifetime:* shared by its pools and the thread. *Threads:* every member from any thread; `run` from one.
class BatchScheduler {
 public:
  /// What has been submitted is behind this, and short.
  [[nodiscard]] std::mutex& inbox_mutex() noexcept { return inbox_mutex_; }
  /// The queues are behind this; locked first.
  [[nodiscard]] std::mutex& mutex() noexcept { return mutex_; }

  /// Says that something is in the inbox of a pool, with its mutex held. @return true when the caller must `wake()`
  /// after letting go of it; never when the task `decides` nothing, as the third of ten that a batch waits for.
  [[nodiscard]] bool submitted(const std::shared_ptr<ScheduledPool>& pool, bool decides = true) {
    if (!pool->submitted_) {
      inbox_.push_back(pool);
      pool->submitted_ = true;
      called_.store(true, std::memory_order_relaxed);
    }
    if (!decides || !asleep_) return false;  // the usual case writes nothing
    asleep_ = false;
    ++wakeups_;
    return true;
  }
  void wake() noexcept { wake_.notify_one(); }
  /// How often the thread was woken for a task.
  [[nodiscard]] std::size_t wakeups() {
    const std::lock_guard lock(inbox_mutex_);
    return wakeups_;
  }

  /// Forgets a pool whose tasks were all taken, with the mutex of the queues held.
  void remove(const ScheduledPool* pool) {
    std::erase_if(waiting_, [pool](const auto& other) { return other.get() == pool; });
    const std::lock_guard lock(inbox_mutex_);
    std::erase_if(inbox_, [pool](const auto& other) { return other.get() == pool; });
  }

  /// Runs batches until `stop`; the body of the thread.
  void run() {
    std::unique_lock lock(mutex_);
    while (collect()) {
      SteadyTime next = SteadyTime::max();
      const SteadyTime begin = std::chrono::steady_clock::now();
      if (auto pool = choose(begin, next)) {
        pool->load_batch(begin);
        lock.unlock();
        pool->process_batch();
        const Duration took = gather(begin);
        lock.lock();
        order_.charge(pool->account_, took);
        lock.unlock();
        pool.reset();  // the last of it may be a user's function, which may do anything
        lock.lock();
      } else {
        lock.unlock();
        if (!linger(begin)) sleep(next);
        lock.lock();
      }
    }
  }
  /// Ends `run` after the batch that it is computing. Idempotent.
  void stop() {
    const std::lock_guard lock(inbox_mutex_);
    stopping_ = true;
    called_.store(true, std::memory_order_relaxed);
    asleep_ = false;
    wake_.notify_all();
  }

 private:
  /// Takes over what was submitted. @return false when it is to stop.
  [[nodiscard]] bool collect() {
    if (waiting_.empty()) order_.idle();
    const std::lock_guard lock(inbox_mutex_);
    for (auto& pool : inbox_) {
      pool->submitted_ = false;
      pool->collect();
      if (!std::exchange(pool->waiting_, true)) {
        order_.enter(pool->account_);
        waiting_.push_back(std::move(pool));
      }
    }
    inbox_.clear();
    called_.store(stopping_, std::memory_order_relaxed);
    return !stopping_;
  }
  /// The pool whose batch is next, or null and the time to look again.
  [[nodiscard]] std::shared_ptr<ScheduledPool> choose(SteadyTime now, SteadyTime& next) {
    ready_.clear();
    candidates_.clear();
    std::erase_if(waiting_, [&](const std::shared_ptr<ScheduledPool>& pool) {
      const auto ready = pool->ready_at(now);
      if (!ready) {
        pool->waiting_ = false;
      } else if (*ready > now) {
        next = std::min(next, *ready);
      } else {
        ready_.push_back(pool.get());
        candidates_.push_back({pool->priority(now), pool->account_.used});
      }
      return !ready;
    });
    if (ready_.empty()) return nullptr;
    const auto* const chosen = ready_[order_.next(candidates_)];
    return *std::ranges::find(waiting_, chosen, [](const auto& pool) { return pool.get(); });
  }
  /// When tasks came during a batch that took no time to speak of, the next is a moment after its begin, not at once:
  /// else two threads would spend their time on handing each other single tasks. @return how long the batch took.
  [[nodiscard]] Duration gather(SteadyTime begin) const {
    SteadyTime now = std::chrono::steady_clock::now();
    const Duration took = now - begin;
    while (called_.load(std::memory_order_relaxed) && now < begin + moment) {
      std::this_thread::yield();
      now = std::chrono::steady_clock::now();
    }
    return took;
  }
  /// Who has just computed is likely to be called again at once, and being woken costs both sides more than looking a
  /// few times. @return true when called.
  [[nodiscard]] bool linger(SteadyTime begin) const {
    do {
      if (called_.load(std::memory_order_relaxed)) return true;
      std::this_thread::yield();
    } while (std::chrono::steady_clock::now() < begin + moment);
    return false;
  }
  void sleep(SteadyTime until) {
    std::unique_lock lock(inbox_mutex_);
    if (stopping_ || !inbox_.empty()) return;
    asleep_ = true;
    const auto woken = [this] { return !asleep_; };
    if (until == SteadyTime::max()) {
      wake_.wait(lock, woken);
    } else {
      wake_.wait_until(lock, until, woken);
    }
    asleep_ = false;
  }

  static constexpr Duration moment = 20us;  // less than any expert takes

  std::mutex inbox_mutex_;
  std::condition_variable wake_;
  std::vector<std::shared_ptr<ScheduledPool>> inbox_;  // pools to which something was submitted
  std::size_t wakeups_ = 0;
  bool asleep_ = false;
  bool stopping_ = false;

  // written under the mutex: there is something in the inbox, or it is to stop; the thread looks at it again and again,
  // which must not take from callers what they write
  alignas(64) std::atomic<bool> called_ = false;

  alignas(64) std::mutex mutex_;
  std::vector<std::shared_ptr<ScheduledPool>> waiting_;  // pools with tasks
  FairOrder order_;
  std::vector<ScheduledPool*> ready_;  // kept for their memory
  std::vector<FairOrder::Candidate> candidates_;
};

}  // namespace skep::inline v0::moe
