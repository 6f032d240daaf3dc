// PoolTask: one task between the coroutine that waits for it and the thread that computes it.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <exception>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "skep/async/awaitable.hpp"
#include "skep/async/outcome.hpp"
#include "skep/async/wait_list.hpp"
#include "skep/core/time.hpp"
#include "skep/moe/batch.hpp"
#include "skep/moe/pool_options.hpp"

namespace skep::inline v0::moe::detail {

using skep::detail::WaitList;

/// A task, or a chunk of one that was too large for a batch. Shared by the caller's coroutine and the pool.
template <class Batch, class Result>
struct PoolTask {
  using Ptr = std::shared_ptr<PoolTask>;

  PoolTask(Executor e, Batch b, TaskOptions o, WaitList* d)
      : executor(std::move(e)), batch(std::move(b)), size(BatchTraits<Batch>::size(batch)), options(o), done(d) {}
  PoolTask(Ptr task, Batch b, std::size_t i)
      : batch(std::move(b)),
        size(BatchTraits<Batch>::size(batch)),
        options(task->options),
        submitted(task->submitted),
        chunk(std::make_unique<const Chunk>(std::move(task), i)) {}

  /// What a chunk is a chunk of.
  struct Chunk {
    Ptr whole;
    std::size_t index;
  };
  /// The results of the chunks, until the last is there.
  struct Pieces {
    std::vector<std::optional<Result>> results;
    std::size_t missing;
  };

  const Executor executor;  // where the caller waits
  Batch batch;
  const std::size_t size;
  const TaskOptions options;
  const SteadyTime submitted = std::chrono::steady_clock::now();
  WaitList* done = nullptr;             // in the caller's frame; null when that is gone; touched on its executor only
  std::atomic<bool> abandoned = false;  // the caller has gone, or has its result
  std::atomic<bool> over = false;       // whoever sets it writes the outcome: who computes, or who closes the pool
  Outcome<Result> outcome;
  // what few tasks have is elsewhere: all else goes from core to core and back with every task
  std::unique_ptr<Pieces> pieces;
  const std::unique_ptr<const Chunk> chunk;

  /// The task of which this is a chunk, or itself.
  [[nodiscard]] PoolTask& root() noexcept { return chunk ? *chunk->whole : *this; }
  [[nodiscard]] bool is_dropped() noexcept { return root().over || root().abandoned.load(std::memory_order_relaxed); }

  /// Cuts a task into chunks of `most` samples; the last may have fewer.
  [[nodiscard]] static std::vector<Ptr> cut(const Ptr& task, std::size_t most) {
    std::vector<std::size_t> sizes(task->size / most, most);
    if (const std::size_t rest = task->size % most; rest > 0) sizes.push_back(rest);
    std::vector<Ptr> chunks;
    for (auto& part : BatchTraits<Batch>::split(std::move(task->batch), sizes)) {
      chunks.push_back(std::make_shared<PoolTask>(task, std::move(part), chunks.size()));
    }
    task->pieces = std::make_unique<Pieces>(std::vector<std::optional<Result>>(chunks.size()), chunks.size());
    return chunks;
  }

  /// Notes the outcome of a task or a chunk. @return the task that has its outcome by that, or null.
  [[nodiscard]] static Ptr succeed(Ptr task, Result result) noexcept {
    const bool is_chunk = task->chunk != nullptr;
    Ptr all = is_chunk ? task->chunk->whole : std::move(task);
    if (is_chunk) {
      all->pieces->results[task->chunk->index] = std::move(result);
      if (--all->pieces->missing > 0) return nullptr;
    }
    if (all->over.exchange(true)) return nullptr;
    try {
      all->outcome.set_value(is_chunk ? all->join_pieces() : std::move(result));
    } catch (...) {
      all->outcome.set_error(std::current_exception());
    }
    return all;
  }
  [[nodiscard]] static Ptr fail(const Ptr& task, std::exception_ptr error) noexcept {
    const Ptr& all = task->chunk ? task->chunk->whole : task;
    if (all->over.exchange(true)) return nullptr;
    all->outcome.set_error(std::move(error));
    return all;
  }

 private:
  [[nodiscard]] Result join_pieces() {
    std::vector<Result> parts;
    for (auto& piece : pieces->results) parts.push_back(*std::move(piece));
    return BatchTraits<Result>::join(parts);
  }
};

/// In the caller's coroutine: when it ends, however it does, nobody is to be woken any more.
template <class Task>
struct Abandon {
  std::shared_ptr<Task> task;
  ~Abandon() {
    task->done = nullptr;
    task->abandoned.store(true, std::memory_order_relaxed);
  }
};

}  // namespace skep::inline v0::moe::detail
