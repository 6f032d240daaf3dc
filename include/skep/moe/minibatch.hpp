// Minibatch: tasks that were taken out of a pool's queue to be computed together.
#pragma once

#include <cstddef>
#include <exception>
#include <string>
#include <utility>
#include <vector>

#include "skep/core/error.hpp"
#include "skep/core/time.hpp"
#include "skep/moe/batch.hpp"
#include "skep/moe/pool_task.hpp"

namespace skep::inline v0::moe {

namespace detail {
template <class Process, class Batch>
class PoolState;
}  // namespace detail

/// What goes through a pool's function at once. Give it back with its outputs or with what went wrong.
template <class Batch, class Result>
class Minibatch {
 public:
  Minibatch() = default;
  Minibatch(Minibatch&&) noexcept = default;
  Minibatch& operator=(Minibatch&&) noexcept = default;

  [[nodiscard]] bool empty() const noexcept { return tasks_.empty(); }
  /// How many samples each of its tasks has, in the order of the outputs.
  [[nodiscard]] const std::vector<std::size_t>& sizes() const noexcept { return sizes_; }
  [[nodiscard]] std::size_t samples() const noexcept { return samples_; }
  /// The tasks' batches joined into one; once only.
  [[nodiscard]] Batch take_inputs() {
    return parts_.size() == 1 ? std::move(parts_.front()) : BatchTraits<Batch>::join(parts_);
  }

 private:
  template <class Process, class B>
  friend class detail::PoolState;
  using Task = detail::PoolTask<Batch, Result>;

  void read_tasks(SteadyTime now) {
    loaded_ = now;
    if (!tasks_.empty()) submitted_ = tasks_.front()->submitted;
    ended_.reserve(tasks_.size());
    parts_.reserve(tasks_.size());
    sizes_.reserve(tasks_.size());
    for (const auto& task : tasks_) {
      parts_.push_back(std::move(task->batch));
      sizes_.push_back(task->size);
      samples_ += task->size;
    }
  }

  /// Gives each task its part of the outputs; throws, and gives nobody anything, when they cannot be divided so.
  void succeed(Result outputs, const std::string& name) {
    if (tasks_.size() == 1) return succeed(0, std::move(outputs), name);
    check_size(outputs, samples_, name);
    auto results = BatchTraits<Result>::split(std::move(outputs), sizes_);
    if (results.size() != tasks_.size()) throw Error(errc::malformed, "the results of " + name + " cannot be split");
    for (std::size_t i = 0; i < results.size(); ++i) end(Task::succeed(std::move(tasks_[i]), std::move(results[i])));
  }
  /// The same for one of them.
  void succeed(std::size_t i, Result result, const std::string& name) {
    check_size(result, sizes_[i], name);
    end(Task::succeed(std::move(tasks_[i]), std::move(result)));
  }
  void fail(const std::exception_ptr& thrown) noexcept {
    for (std::size_t i = 0; i < tasks_.size(); ++i) fail(i, thrown);
  }
  void fail(std::size_t i, std::exception_ptr thrown) noexcept { end(Task::fail(tasks_[i], std::move(thrown))); }

  static void check_size(const Result& result, std::size_t samples, const std::string& name) {
    if (const std::size_t got = BatchTraits<Result>::size(result); got != samples) {
      throw Error(errc::malformed, "the function of " + name + " gave " + std::to_string(got) + " results for " +
                                       std::to_string(samples) + " samples");
    }
  }
  void end(typename Task::Ptr task) noexcept {
    if (task) ended_.push_back(std::move(task));  // reserved
  }

  std::vector<typename Task::Ptr> tasks_;
  std::vector<typename Task::Ptr> ended_;  // those that have their outcomes by this batch
  std::vector<Batch> parts_;
  std::vector<std::size_t> sizes_;
  std::size_t samples_ = 0;
  SteadyTime submitted_;  // the first task
  SteadyTime loaded_;
};

}  // namespace skep::inline v0::moe
