// Options of pools and of the tasks that are submitted to them, and what a pool has done.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>

#include "skep/core/time.hpp"

namespace skep::inline v0::moe {

/// What becomes of a task above `max_batch_size`.
enum class Oversize : std::uint8_t {
  split,  ///< it is computed in several batches, and its results are joined
  whole,  ///< it is a batch of its own: for a function whose effect must be one for all of the task, as a training step
};

/// Options of a TaskPool.
struct TaskPoolOptions {
  std::size_t max_batch_size = 4096;    ///< samples in one batch; see `oversize` for larger tasks
  std::size_t min_batch_size = 1;       ///< fewer samples wait for company, but no longer than `timeout`
  Duration timeout = 100ms;             ///< how long the oldest task waits for a batch below the minimum to fill
  std::size_t max_queued = 1024;        ///< tasks that may wait; one more fails with errc::busy at once
  std::string name = "pool";            ///< in statistics and error messages
  Oversize oversize = Oversize::split;  ///< what becomes of a task above `max_batch_size`
  std::size_t max_task_size = 0;        ///< samples in one task; a larger one is refused. 0: 16 x `max_batch_size`
  Duration ageing = 100ms;              ///< a task yields to those that are more urgent by one for so long, not longer
  Duration small_first = Duration::zero();  ///< by how much each of its samples makes a task count as submitted later:
                                            ///< so small ones overtake large ones, but not for ever. 0: in order
};

/// Options of one task.
struct TaskOptions {
  SteadyTime deadline = SteadyTime::max();  ///< a task that is not computed by then fails with errc::timed_out
  int priority = 0;                         ///< smaller is more urgent; see `TaskPoolOptions::ageing`
};
static_assert(std::is_trivially_copyable_v<TaskOptions>);

/// What a pool has done since it was made.
struct PoolStatistics {
  std::size_t batches = 0;
  std::size_t tasks = 0;    ///< that were computed, failed ones included
  std::size_t samples = 0;  ///< in those tasks
  std::size_t failed = 0;   ///< tasks whose function threw
  std::size_t refused = 0;  ///< tasks that were too large or found the queue full
  std::size_t dropped = 0;  ///< tasks whose caller had gone before they were computed
  std::size_t expired = 0;  ///< tasks whose deadline was over before they were computed
  std::size_t queued = 0;   ///< tasks that wait now
  Duration waited{};        ///< from submission to the start of the batch, summed over tasks
  Duration computed{};      ///< spent in the function
};

}  // namespace skep::inline v0::moe
