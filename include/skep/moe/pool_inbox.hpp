// PoolInbox: the callers' side of a pool, behind one short lock: what was submitted, what is refused, what is counted.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <iterator>
#include <mutex>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "skep/core/error.hpp"
#include "skep/core/time.hpp"
#include "skep/moe/admission.hpp"
#include "skep/moe/pool_options.hpp"

namespace skep::inline v0::moe::detail {

/// What left the queue of a pool.
struct PoolLeft {
  std::size_t queued = 0;
  std::size_t samples = 0;
  std::size_t dropped = 0;
  std::size_t expired = 0;
  Duration waited{};
};
/// What a batch had come to when it ended.
struct PoolDone {
  std::size_t tasks = 0;
  std::size_t samples = 0;
  std::size_t failed = 0;
  SteadyTime submitted;  // its first task
  SteadyTime begin, end;
};

/// `TaskPtr` points to a task with `size`, `submitted` and `options`. *Threads:* any, on a mutex that pools share.
template <class TaskPtr>
class PoolInbox {
 public:
  PoolInbox(const TaskPoolOptions& options, std::mutex& mutex) : options_(options), mutex_(mutex) {}

  /// Lets a task in, and says to `submitted(decides)` under the lock whether a batch may be due by it; gives what that
  /// does. Throws the refusal.
  template <class Submitted>
  bool push(TaskPtr task, Submitted&& submitted) {
    const std::size_t size = task->size;
    std::error_code refused;
    {
      const std::lock_guard lock(mutex_);
      refused = judge(*task);
      if (!refused) {
        const bool first = statistics_.queued == 0;
        const bool limited = task->options.deadline != SteadyTime::max();
        tasks_.push_back(std::move(task));
        statistics_.queued += chunk_count(options_, size);
        samples_ += size;
        return submitted(first || limited || options_.min_batch_size <= 1 || samples_ >= options_.min_batch_size ||
                         statistics_.queued >= options_.max_queued);
      }
    }
    throw refusal(refused);
  }
  /// Moves what was submitted to the other side; the mutex is held.
  void collect(std::vector<TaskPtr>& tasks) noexcept {
    if (tasks.empty()) return tasks.swap(tasks_);
    std::ranges::move(tasks_, std::back_inserter(tasks));
    tasks_.clear();
  }
  /// Lets nothing in any more; the mutex is held.
  void close() noexcept { closed_ = true; }

  void left(const PoolLeft& left) {
    const std::lock_guard lock(mutex_);
    statistics_.queued -= left.queued;
    samples_ -= left.samples;
    statistics_.dropped += left.dropped;
    statistics_.expired += left.expired;
    statistics_.waited += left.waited;
  }
  void done(const PoolDone& done) {
    const std::lock_guard lock(done_mutex_);
    ++done_.batches;
    done_.tasks += done.tasks;
    done_.samples += done.samples;
    done_.failed += done.failed;
    done_.computed += done.end - done.begin;
    // with the turns of other pools that came between
    cost_.add(done.samples, done.end - std::max(last_end_, done.submitted));
    last_end_ = done.end;
  }
  [[nodiscard]] PoolStatistics statistics() const {
    const std::scoped_lock lock(mutex_, done_mutex_);
    PoolStatistics all = done_;
    all.refused = statistics_.refused;
    all.dropped = statistics_.dropped;
    all.expired = statistics_.expired;
    all.queued = statistics_.queued;
    all.waited = statistics_.waited;
    return all;
  }

  [[nodiscard]] Error closed_error() const { return {errc::closed, options_.name + " is closed"}; }
  [[nodiscard]] Error expired_error() const {
    return {errc::timed_out, options_.name + ": the deadline of the task was over before it was computed"};
  }

 private:
  template <class Task>
  [[nodiscard]] std::error_code judge(const Task& task) {
    if (closed_) return errc::closed;
    if (task.options.deadline <= task.submitted) {
      ++statistics_.expired;
      return errc::timed_out;
    }
    const auto admitted = admit(options_, task.size, statistics_.queued);
    if (!admitted) ++statistics_.refused;
    return admitted.error();
  }
  [[nodiscard]] Error refusal(std::error_code code) const {
    if (code == errc::closed) return closed_error();
    if (code == errc::timed_out) return expired_error();
    if (code == errc::limit_exceeded) {
      return {code, options_.name + ": task size greater than max_task_size (" +
                        std::to_string(max_task_size(options_)) + "), it can't be processed; send it in parts"};
    }
    const std::scoped_lock lock(mutex_, done_mutex_);
    const auto retry = retry_after(cost_, samples_, options_.max_batch_size, options_.timeout);
    return {code, options_.name + " is busy: " + std::to_string(statistics_.queued) +
                      (statistics_.queued == 1 ? " task waits" : " tasks wait") + ", retry in " +
                      std::to_string(retry.count()) + " ms"};
  }

  const TaskPoolOptions& options_;
  std::mutex& mutex_;
  std::vector<TaskPtr> tasks_;
  std::size_t samples_ = 0;    // of the tasks that wait, here and in the queue
  PoolStatistics statistics_;  // of submitting and waiting
  bool closed_ = false;

  alignas(64) mutable std::mutex done_mutex_;  // of its own, so that callers do not wait for what the other side counts
  PoolStatistics done_;                        // of computing
  BatchCost cost_;
  SteadyTime last_end_;  // of a batch
};

}  // namespace skep::inline v0::moe::detail
