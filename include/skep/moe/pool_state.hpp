// PoolState: the tasks of one pool, how a batch of them is computed, and how its results find their callers.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include "skep/async/awaitable.hpp"
#include "skep/async/event.hpp"
#include "skep/async/outcome.hpp"
#include "skep/core/error.hpp"
#include "skep/core/time.hpp"
#include "skep/moe/batch.hpp"
#include "skep/moe/batch_queue.hpp"
#include "skep/moe/batch_scheduler.hpp"
#include "skep/moe/pool_options.hpp"

namespace skep::inline v0::moe {

namespace detail {

/// The shared state of a pool: its queue, and how a batch of it is run.
template <class Process, class Batch>
class PoolState final : public ScheduledPool, public std::enable_shared_from_this<PoolState<Process, Batch>> {
 public:
  using Result = std::remove_cvref_t<std::invoke_result_t<Process&, Batch>>;
  static_assert(Batchable<Batch>, "skep: a TaskPool's function takes a batch: specialise BatchTraits for its type");
  static_assert(Batchable<Result>, "skep: a TaskPool's function returns a batch: specialise BatchTraits for its type");

  PoolState(Process process, TaskPoolOptions options, std::shared_ptr<BatchScheduler> scheduler)
      : process_(std::move(process)),
        options_(std::move(options)),
        scheduler_(std::move(scheduler)),
        queue_({options_.max_batch_size, options_.min_batch_size, options_.timeout, options_.max_queued}) {
    if (options_.min_batch_size <= options_.max_batch_size && options_.max_batch_size > 0 && options_.max_queued > 0)
      return;
    throw Error(errc::invalid_argument, options_.name +
                                            ": max_batch_size and max_queued must be at least 1 and "
                                            "min_batch_size not above max_batch_size");
  }

  [[nodiscard]] const TaskPoolOptions& options() const noexcept { return options_; }

  static awaitable<Result> submit(std::shared_ptr<PoolState> self, Batch batch, TaskOptions options) {
    const auto executor = co_await this_executor;
    Event done(executor);
    const auto task = std::make_shared<Task>(executor, std::move(batch), options, &done);
    const Abandon abandon{task};  // however this coroutine ends
    self->enqueue(task);
    co_await done.wait();
    co_return std::move(task->outcome).get();
  }

  void close() {
    std::vector<TaskPtr> left;
    {
      const std::lock_guard lock(scheduler_->mutex());
      closed_ = true;
      left = queue_.take_all();
    }
    scheduler_->detach(this);
    for (const auto& task : left) task->outcome.set_error(std::make_exception_ptr(closed_error()));
    deliver(std::move(left));
  }
  [[nodiscard]] PoolStatistics statistics() const {
    const std::lock_guard lock(scheduler_->mutex());
    PoolStatistics now = statistics_;
    now.queued = queue_.size();
    return now;
  }

  std::optional<SteadyTime> ready_at() override {
    queue_.drop_front([this](const TaskPtr& task) { return is_dropped(task); });
    return queue_.ready_at();
  }
  SteadyTime oldest() const override { return *queue_.oldest(); }
  void take(SteadyTime now) override {
    taken_ = queue_.take([](const TaskPtr& a, const TaskPtr& b) { return same_shape(a->batch, b->batch); },
                         [this](const TaskPtr& task) { return is_dropped(task); });
    for (const auto& task : taken_) statistics_.waited += now - task->submitted;
  }
  void run() noexcept override {
    const SteadyTime begin = std::chrono::steady_clock::now();
    std::vector<Batch> parts;
    std::vector<std::size_t> sizes;
    for (const auto& task : taken_) {
      sizes.push_back(task->size);
      parts.push_back(std::move(task->batch));
    }
    std::size_t failed = 0;
    if (parts.size() != 1 && !run_together(parts, sizes)) {
      for (std::size_t i = 0; i < parts.size(); ++i) failed += run_alone(*taken_[i], std::move(parts[i]));
    } else if (parts.size() == 1) {
      failed += run_alone(*taken_[0], std::move(parts[0]));
    }
    {
      const std::lock_guard lock(scheduler_->mutex());
      ++statistics_.batches;
      statistics_.tasks += taken_.size();
      for (const std::size_t size : sizes) statistics_.samples += size;
      statistics_.failed += failed;
      statistics_.computed += std::chrono::steady_clock::now() - begin;
    }
    deliver(std::exchange(taken_, {}));
  }

 private:
  struct Task {
    Task(Executor e, Batch b, TaskOptions o, Event* d)
        : executor(std::move(e)), batch(std::move(b)), size(BatchTraits<Batch>::size(batch)), options(o), done(d) {}
    const Executor executor;  // where the caller waits
    Batch batch;
    std::size_t size;
    const TaskOptions options;
    SteadyTime submitted = std::chrono::steady_clock::now();
    std::atomic<bool> abandoned = false;
    Outcome<Result> outcome;  // written by the computing thread before `done` is set
    Event* done;              // in the caller's frame; null when that is gone; touched on its executor only
  };
  using TaskPtr = std::shared_ptr<Task>;

  /// The caller has gone, or has its result.
  struct Abandon {
    TaskPtr task;
    ~Abandon() {
      task->done = nullptr;
      task->abandoned.store(true, std::memory_order_relaxed);
    }
  };

  void enqueue(const TaskPtr& task) {
    bool must_wake = false;
    {
      const std::lock_guard lock(scheduler_->mutex());
      if (closed_) throw closed_error();
      if (const auto pushed = queue_.push(task, task->size, task->submitted); !pushed) {
        ++statistics_.refused;
        throw refusal(pushed.error());
      }
      must_wake = scheduler_->task_added();
    }
    if (must_wake) scheduler_->wake();
  }
  [[nodiscard]] Error closed_error() const { return {errc::closed, options_.name + " is closed"}; }
  [[nodiscard]] Error refusal(std::error_code code) const {
    if (code == errc::limit_exceeded) {
      return {code, "Task size greater than max_batch_size (" + std::to_string(options_.max_batch_size) +
                        "), it can't be processed"};
    }
    return {code, options_.name + " is busy: " + std::to_string(options_.max_queued) + " tasks wait, try again later"};
  }

  [[nodiscard]] bool is_dropped(const TaskPtr& task) {
    if (!task->abandoned.load(std::memory_order_relaxed)) return false;
    ++statistics_.dropped;
    return true;
  }

  /// Computes all parts as one batch. @return false when the function threw and each must be tried alone.
  [[nodiscard]] bool run_together(const std::vector<Batch>& parts, const std::vector<std::size_t>& sizes) noexcept {
    try {
      auto results = split(process_(BatchTraits<Batch>::join(parts)), sizes);
      for (std::size_t i = 0; i < parts.size(); ++i) taken_[i]->outcome.set_value(std::move(results[i]));
      return true;
    } catch (...) {
      return false;
    }
  }
  /// @return the number of failed tasks, 0 or 1.
  [[nodiscard]] std::size_t run_alone(Task& task, Batch batch) noexcept {
    try {
      task.outcome.set_value(std::move(split(process_(std::move(batch)), {task.size})[0]));
      return 0;
    } catch (...) {
      task.outcome.set_error(std::current_exception());
      return 1;
    }
  }
  [[nodiscard]] std::vector<Result> split(Result result, const std::vector<std::size_t>& sizes) const {
    std::size_t samples = 0;
    for (const std::size_t size : sizes) samples += size;
    if (const std::size_t got = BatchTraits<Result>::size(result); got != samples) {
      throw Error(errc::malformed, "the function of " + options_.name + " gave " + std::to_string(got) +
                                       " results for " + std::to_string(samples) + " samples");
    }
    if (sizes.size() == 1) {
      std::vector<Result> whole;
      whole.push_back(std::move(result));
      return whole;
    }
    return BatchTraits<Result>::split(std::move(result), sizes);
  }

  /// Hands the outcomes to the callers' executors: one message for each executor, and almost always there is but one.
  static void deliver(std::vector<TaskPtr> tasks) noexcept {
    while (!tasks.empty()) {
      const Executor executor = tasks.front()->executor;
      std::vector<TaskPtr> mine, others;
      for (auto& task : tasks) (task->executor == executor ? mine : others).push_back(std::move(task));
      tasks = std::move(others);
      if (std::ranges::all_of(mine, [](const TaskPtr& task) { return task->abandoned.load(); })) continue;
      executor.execute([mine = std::move(mine)] {
        for (const auto& task : mine) {
          if (task->done != nullptr) task->done->set();
        }
      });
    }
  }

  Process process_;
  const TaskPoolOptions options_;
  const std::shared_ptr<BatchScheduler> scheduler_;
  std::vector<TaskPtr> taken_;  // the batch being computed

  // under the scheduler's mutex
  BatchQueue<TaskPtr> queue_;
  PoolStatistics statistics_;
  bool closed_ = false;
};

/// What is left of a pool whose function does not tell its batch type: enough to get to the sentence that says so.
template <class Process>
class PoolState<Process, UnknownBatch> : public ScheduledPool {
 public:
  using Result = UnknownBatch;
  PoolState(Process, TaskPoolOptions, std::shared_ptr<BatchScheduler>);
};

}  // namespace detail

}  // namespace skep::inline v0::moe
