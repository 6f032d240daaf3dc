// TaskPool: gathers the tasks of many callers into batches for one function, without network or LibTorch.
#pragma once

#include <concepts>
#include <cstddef>
#include <exception>
#include <iterator>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "skep/async/awaitable.hpp"
#include "skep/async/runner.hpp"
#include "skep/core/log.hpp"
#include "skep/core/time.hpp"
#include "skep/moe/batch.hpp"
#include "skep/moe/batch_scheduler.hpp"
#include "skep/moe/minibatch.hpp"
#include "skep/moe/pool_options.hpp"
#include "skep/moe/pool_state.hpp"

namespace skep::inline v0::moe {

namespace detail {

/// A thread that runs one scheduler.
class SchedulerThread {
 public:
  explicit SchedulerThread(std::shared_ptr<BatchScheduler> scheduler)
      : scheduler_(std::move(scheduler)), thread_([scheduler = scheduler_] {
          mark_no_blocking();
          scheduler->run();
        }) {}
  SchedulerThread(const SchedulerThread&) = delete;
  SchedulerThread& operator=(const SchedulerThread&) = delete;
  ~SchedulerThread() {
    scheduler_->stop();
    if (thread_.get_id() == std::this_thread::get_id()) {
      log(LogLevel::error, "pool", "a TaskPool was destroyed by its own function, on the thread that it waits for");
      std::terminate();
    }
    thread_.join();
  }

 private:
  std::shared_ptr<BatchScheduler> scheduler_;
  std::thread thread_;
};

}  // namespace detail

/// Gathers the tasks of many coroutines into batches for one function (Hivemind's TaskPool): what is queued when the
/// computing thread becomes free goes together, up to the maximum, so a lone task never waits and load makes batches
/// large. Tasks that cannot be joined do not meet; when the function throws for a batch, its tasks are computed one by
/// one, so only those whose own input is to blame fail. Tasks that are too large for a batch are computed in several,
/// or whole (`Oversize`); those whose caller has gone or whose deadline is over are not computed.
///
///     TaskPool pool([](std::vector<Row> rows) { return score(rows); }, {.max_batch_size = 256});
///     auto mine = co_await pool.submit_task(std::vector{row});
///
/// *Lifetime:* a handle; tasks keep what they need. The destructor closes the pool: what waits fails with errc::closed.
/// The executors of waiting coroutines must outlive the pool, and run one handler at a time. *Threads:* any, but a pool
/// with a thread of its own must not be destroyed by its function. The function is called on one thread, a thread of
/// the pool's own or, with a scheduler, the thread that runs that; it must not wait for a task of its own thread.
/// *Cancellation:* a cancelled task is dropped if it is not yet computed.
template <class Process, Batchable Batch = argument_t<Process>>
class TaskPool {
  static_assert(!std::same_as<Batch, detail::UnknownBatch>,
                "skep: a TaskPool's function takes one batch; write the type of its parameter, not auto, or name it: "
                "TaskPool<Function, Batch>");
  using State = detail::PoolState<Process, Batch>;

 public:
  using Result = typename State::Result;
  using Minibatch = moe::Minibatch<Batch, Result>;

  /// A pool with a thread of its own.
  explicit TaskPool(Process process, TaskPoolOptions options = {})
      : TaskPool(std::move(process), std::move(options), std::make_shared<BatchScheduler>()) {
    thread_ = std::make_unique<detail::SchedulerThread>(scheduler_);
  }
  /// A pool that shares the thread which runs `scheduler`; or one whose batches are pulled by hand, if none does.
  TaskPool(Process process, TaskPoolOptions options, std::shared_ptr<BatchScheduler> scheduler)
      : scheduler_(std::move(scheduler)),
        state_(std::make_shared<State>(std::move(process), std::move(options), scheduler_)) {}
  TaskPool(TaskPool&&) noexcept = default;
  TaskPool& operator=(TaskPool&&) = delete;
  ~TaskPool() { close(); }

  /// Computes the function for `batch`, together with other tasks, and gives this task's part of the result. Throws
  /// what the function threw for it; errc::limit_exceeded when it is larger than `max_task_size`; errc::busy when the
  /// queue is full, with the time after which to try again; errc::timed_out when its deadline is over before it is
  /// computed; errc::closed.
  [[nodiscard]] awaitable<Result> submit_task(Batch batch, TaskOptions options = {}) const {
    return State::submit(state_, std::move(batch), options);
  }

  /// Lets no new task in and fails those that wait; a batch that is being computed is still delivered. Idempotent.
  void close() {
    if (state_) state_->close();
  }

  [[nodiscard]] const std::string& name() const noexcept { return state_->options().name; }
  [[nodiscard]] const TaskPoolOptions& options() const noexcept { return state_->options(); }
  [[nodiscard]] std::size_t max_batch_size() const noexcept { return options().max_batch_size; }
  /// Whether no task waits.
  [[nodiscard]] bool empty() const { return statistics().queued == 0; }
  [[nodiscard]] PoolStatistics statistics() const { return state_->statistics(); }
  /// The samples of a task, by which batches are filled.
  [[nodiscard]] static std::size_t get_task_size(const Batch& batch) { return BatchTraits<Batch>::size(batch); }
  /// The time at which the task that leads the next batch was submitted, moved by what `TaskOptions::priority` and
  /// `TaskPoolOptions::small_first` say: smaller is more urgent. SteadyTime::max() when no batch is ready.
  [[nodiscard]] SteadyTime priority() const { return state_->priority_now(); }

  // By hand, for pools whose scheduler no thread runs: what a Runtime's thread does otherwise.

  /// Takes the next batch out of the queue; an empty one when none is ready.
  [[nodiscard]] Minibatch load_batch_to_runtime() const { return state_->load(); }
  /// Gives each task its part of the outputs; when they are of the wrong size, all fail.
  void send_outputs_from_runtime(Minibatch batch, Result outputs) const {
    state_->send_outputs(std::move(batch), std::move(outputs));
  }
  /// Fails all tasks of a batch.
  void send_exception_from_runtime(Minibatch batch, const std::exception_ptr& thrown) const {
    state_->send_exception(std::move(batch), thrown);
  }

  /// The batches that are ready, one after another, until none is:
  ///
  ///     for (auto& batch : pool.iterate_minibatches()) {
  ///       auto outputs = score(batch.take_inputs());
  ///       pool.send_outputs_from_runtime(std::move(batch), std::move(outputs));
  ///     }
  [[nodiscard]] auto iterate_minibatches() const { return Minibatches{this}; }

 private:
  /// A range that is gone through once.
  struct Minibatches {
    struct Iterator {
      const TaskPool* pool;
      Minibatch batch;
      Minibatch& operator*() { return batch; }
      Iterator& operator++() {
        batch = pool->load_batch_to_runtime();
        return *this;
      }
      bool operator==(std::default_sentinel_t) const { return batch.empty(); }
    };
    const TaskPool* pool;
    [[nodiscard]] Iterator begin() const { return {pool, pool->load_batch_to_runtime()}; }
    [[nodiscard]] std::default_sentinel_t end() const { return {}; }
  };

  std::shared_ptr<BatchScheduler> scheduler_;
  std::shared_ptr<State> state_;
  std::unique_ptr<detail::SchedulerThread> thread_;
};

template <class Process>
TaskPool(Process) -> TaskPool<Process, argument_t<Process>>;
template <class Process>
TaskPool(Process, TaskPoolOptions) -> TaskPool<Process, argument_t<Process>>;
template <class Process>
TaskPool(Process, TaskPoolOptions, std::shared_ptr<BatchScheduler>) -> TaskPool<Process, argument_t<Process>>;

}  // namespace skep::inline v0::moe
