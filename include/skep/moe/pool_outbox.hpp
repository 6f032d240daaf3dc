// PoolOutbox: the way of outcomes back to the executors on which their callers wait.
#pragma once

#include <algorithm>
#include <iterator>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "skep/async/awaitable.hpp"
#include "skep/async/post.hpp"

namespace skep::inline v0::moe::detail {

/// Sends tasks that have their outcomes: one message to an executor for as many as gather before it looks, a batch at
/// least. `Task` has `executor`, `abandoned` and `done`, the list in which its caller waits. *Lifetime:* shared with
/// the messages. *Threads:* any; callers are resumed on their executors.
template <class Task>
class PoolOutbox : public std::enable_shared_from_this<PoolOutbox<Task>> {
  using TaskPtr = std::shared_ptr<Task>;

 public:
  void send(std::vector<TaskPtr> tasks) {
    while (!tasks.empty()) {  // almost always once
      const Executor executor = tasks.front()->executor;
      std::vector<TaskPtr> here, others;
      if (std::ranges::all_of(tasks, [&](const TaskPtr& task) { return task->executor == executor; })) {
        here.swap(tasks);
      } else {
        for (auto& task : tasks) (task->executor == executor ? here : others).push_back(std::move(task));
      }
      // an executor of which all callers have gone may be gone as well
      const bool awaited = std::ranges::any_of(here, [](const TaskPtr& task) { return !task->abandoned.load(); });
      if (awaited) send(executor, std::move(here));
      tasks = std::move(others);
    }
  }

 private:
  struct Letter {
    Executor executor;
    std::vector<TaskPtr> tasks;
  };

  /// The message; it may be destroyed unread, with its executor.
  class Message {
   public:
    Message(std::shared_ptr<PoolOutbox> outbox, std::shared_ptr<Letter> letter)
        : outbox_(std::move(outbox)), letter_(std::move(letter)) {}
    Message(Message&&) noexcept = default;
    Message& operator=(Message&&) = delete;
    ~Message() {
      if (outbox_) outbox_->close(*letter_);
    }

    void operator()() {
      outbox_->close(*letter_);
      auto& tasks = letter_->tasks;
      for (auto task = tasks.begin(); task != tasks.end(); ++task) {
        const TaskPtr mine = std::move(*task);  // let go of now: the caller's next task may have its memory
        if (mine->done == nullptr) continue;
        try {
          mine->done->resume_one();
        } catch (...) {  // from the caller's own code: it must not take the results of others with it
          tasks.erase(tasks.begin(), std::next(task));
          if (!tasks.empty()) outbox_->send(letter_->executor, std::move(tasks));
          throw;
        }
      }
    }

   private:
    std::shared_ptr<PoolOutbox> outbox_;
    std::shared_ptr<Letter> letter_;
  };

  void send(const Executor& executor, std::vector<TaskPtr> tasks) {
    std::shared_ptr<Letter> letter;
    {
      const std::lock_guard lock(mutex_);
      const auto open = std::ranges::find_if(open_, [&](const auto& other) { return other->executor == executor; });
      if (open != open_.end()) {
        std::ranges::move(tasks, std::back_inserter((*open)->tasks));
        return;
      }
      letter = std::make_shared<Letter>(executor, std::move(tasks));
      open_.push_back(letter);
    }
    post(executor, Message(this->shared_from_this(), std::move(letter)));
  }
  /// Nothing is added to a letter any more.
  void close(const Letter& letter) {
    const std::lock_guard lock(mutex_);
    std::erase_if(open_, [&letter](const auto& other) { return other.get() == &letter; });
  }

  std::mutex mutex_;
  std::vector<std::shared_ptr<Letter>> open_;  // those that are on their way
};

}  // namespace skep::inline v0::moe::detail
