// PoolState: the tasks of one pool, how a batch of them is computed, and how its results find their callers.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "skep/async/awaitable.hpp"
#include "skep/async/cancellation.hpp"
#include "skep/async/wait_list.hpp"
#include "skep/core/error.hpp"
#include "skep/core/time.hpp"
#include "skep/moe/admission.hpp"
#include "skep/moe/batch.hpp"
#include "skep/moe/batch_queue.hpp"
#include "skep/moe/batch_scheduler.hpp"
#include "skep/moe/minibatch.hpp"
#include "skep/moe/pool_inbox.hpp"
#include "skep/moe/pool_options.hpp"
#include "skep/moe/pool_outbox.hpp"
#include "skep/moe/pool_task.hpp"

namespace skep::inline v0::moe::detail {

/// The shared state of a pool: its inbox, its queue, and how a batch of it is run.
template <class Process, class Batch>
class PoolState final : public ScheduledPool, public std::enable_shared_from_this<PoolState<Process, Batch>> {
 public:
  using Result = std::remove_cvref_t<std::invoke_result_t<Process&, Batch>>;
  static_assert(Batchable<Batch>, "skep: a TaskPool's function takes a batch: specialise BatchTraits for its type");
  static_assert(Batchable<Result>, "skep: a TaskPool's function returns a batch: specialise BatchTraits for its type");
  using Task = PoolTask<Batch, Result>;
  using TaskPtr = typename Task::Ptr;
  using Loaded = Minibatch<Batch, Result>;

  PoolState(Process process, TaskPoolOptions options, std::shared_ptr<BatchScheduler> scheduler)
      : process_(std::move(process)),
        options_(std::move(options)),
        scheduler_(std::move(scheduler)),
        inbox_(options_, scheduler_->inbox_mutex()),
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
    WaitList done(executor);
    // however this coroutine ends
    const Abandon<Task> mine{std::make_shared<Task>(executor, std::move(batch), options, &done)};
    const bool must_wake =
        self->inbox_.push(mine.task, [&self](bool decides) { return self->scheduler_->submitted(self, decides); });
    if (must_wake) self->scheduler_->wake();
    const bool woken = co_await done.try_wait();
    if (!woken) throw_cancelled();
    co_return std::move(mine.task->outcome).get();
  }

  /// Lets nothing in any more and fails what waits. Idempotent.
  void close() {
    const std::lock_guard lock(scheduler_->mutex());
    {
      const std::lock_guard inbox(scheduler_->inbox_mutex());
      inbox_.close();
      collect();
    }
    sort_in();
    for (const auto& task : queue_.take_all()) {
      note_left(*task);
      end(Task::fail(task, std::make_exception_ptr(inbox_.closed_error())));
    }
    settle();
    scheduler_->remove(this);
  }
  [[nodiscard]] PoolStatistics statistics() const { return inbox_.statistics(); }

  // by hand, without a thread
  [[nodiscard]] Loaded load() {
    const std::lock_guard lock(scheduler_->mutex());
    const SteadyTime now = look();
    load_batch(now);
    return std::exchange(loaded_, {});
  }
  [[nodiscard]] SteadyTime priority_now() {
    const std::lock_guard lock(scheduler_->mutex());
    return priority(look());
  }
  void send_outputs(Loaded batch, Result outputs) noexcept {
    try {
      batch.succeed(std::move(outputs), options_.name);
    } catch (...) {
      batch.fail(std::current_exception());
    }
    finish(std::move(batch));
  }
  void send_exception(Loaded batch, const std::exception_ptr& thrown) noexcept {
    batch.fail(thrown);
    finish(std::move(batch));
  }

  // by the scheduler
  void collect() noexcept override { inbox_.collect(collected_); }
  std::optional<SteadyTime> ready_at(SteadyTime now) override {
    sort_in();
    queue_.prune(now, drops(), expires());
    settle();
    return queue_.ready_at();
  }
  SteadyTime priority(SteadyTime now) const override { return queue_.priority(now); }
  void load_batch(SteadyTime now) override {
    queue_.take(now, loaded_.tasks_, drops(), expires());
    for (const auto& task : loaded_.tasks_) {
      note_left(*task);
      left_.waited += now - task->submitted;
    }
    loaded_.read_tasks(now);
    settle();
  }
  void process_batch() noexcept override {
    Loaded batch = std::exchange(loaded_, {});
    if (batch.empty()) return;
    if (batch.tasks_.size() == 1 || !run_together(batch)) {
      for (std::size_t i = 0; i < batch.tasks_.size(); ++i) run_alone(batch, i);
    }
    finish(std::move(batch));
  }

 private:
  // the side of the queue; under the scheduler's mutex

  [[nodiscard]] SteadyTime look() {
    {
      const std::lock_guard inbox(scheduler_->inbox_mutex());
      collect();
    }
    const SteadyTime now = std::chrono::steady_clock::now();
    static_cast<void>(ready_at(now));
    return now;
  }
  /// Puts what was collected into the queue, large tasks in chunks.
  void sort_in() {
    for (auto& task : collected_) {
      PoolLeft unqueued{.queued = chunk_count(options_, task->size), .samples = task->size};
      try {
        const SteadyTime place = rank(options_, task->options, task->size, task->submitted);
        const auto push = [&](TaskPtr part) {
          const QueuedTask what{part->size, part->submitted, place, part->options.deadline};
          queue_.push(std::move(part), what,
                      [](const TaskPtr& a, const TaskPtr& b) { return same_shape(a->batch, b->batch); });
          --unqueued.queued;
          unqueued.samples -= what.size;
        };
        if (unqueued.queued == 1) {
          push(task);
        } else {
          for (const auto& chunk : Task::cut(task, options_.max_batch_size)) push(chunk);
        }
      } catch (...) {
        left_.queued += unqueued.queued;
        left_.samples += unqueued.samples;
        end(Task::fail(task, std::current_exception()));
      }
    }
    collected_.clear();
  }
  [[nodiscard]] auto drops() {
    return [this](const TaskPtr& task) {
      if (!task->is_dropped()) return false;
      if (!task->root().over.exchange(true)) ++left_.dropped;
      note_left(*task);
      return true;
    };
  }
  [[nodiscard]] auto expires() {
    return [this](const TaskPtr& task) {
      ++left_.expired;
      note_left(*task);
      end(Task::fail(task, std::make_exception_ptr(inbox_.expired_error())));
    };
  }
  void note_left(const Task& task) noexcept {
    ++left_.queued;
    left_.samples += task.size;
  }
  void end(TaskPtr task) {
    if (task) ended_.push_back(std::move(task));
  }
  /// Tells the callers' side what left the queue.
  void settle() {
    if (left_.queued > 0) inbox_.left(std::exchange(left_, {}));
    if (!ended_.empty()) outbox_->send(std::exchange(ended_, {}));
  }

  // the side of the computation; without a mutex

  /// Computes all parts as one batch. @return false when the function threw and each must be tried alone.
  [[nodiscard]] bool run_together(Loaded& batch) noexcept {
    try {
      batch.succeed(process_(batch.take_inputs()), options_.name);
      return true;
    } catch (...) {
      return false;
    }
  }
  void run_alone(Loaded& batch, std::size_t i) noexcept {
    try {
      batch.succeed(i, process_(std::move(batch.parts_[i])), options_.name);
    } catch (...) {
      batch.fail(i, std::current_exception());
    }
  }
  void finish(Loaded batch) {
    const auto failed = std::ranges::count_if(
        batch.ended_, [](const TaskPtr& task) { return static_cast<bool>(task->outcome.error()); });
    inbox_.done({batch.ended_.size(), batch.samples(), static_cast<std::size_t>(failed), batch.submitted_,
                 batch.loaded_, std::chrono::steady_clock::now()});
    outbox_->send(std::move(batch.ended_));
  }

  Process process_;
  const TaskPoolOptions options_;
  const std::shared_ptr<BatchScheduler> scheduler_;

  PoolInbox<TaskPtr> inbox_;  // under the scheduler's inbox_mutex
  const std::shared_ptr<PoolOutbox<Task>> outbox_ = std::make_shared<PoolOutbox<Task>>();

  // under the scheduler's mutex
  std::vector<TaskPtr> collected_;
  BatchQueue<TaskPtr> queue_;
  PoolLeft left_;
  std::vector<TaskPtr> ended_;  // without having been computed
  Loaded loaded_;               // then the computing thread's
};

/// What is left of a pool whose function does not tell its batch type: enough to get to the sentence that says so.
template <class Process>
class PoolState<Process, UnknownBatch> : public ScheduledPool {
 public:
  using Result = UnknownBatch;
  PoolState(Process, TaskPoolOptions, std::shared_ptr<BatchScheduler>);
};

}  // namespace skep::inline v0::moe::detail
