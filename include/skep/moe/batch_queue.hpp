// BatchQueue: which waiting tasks go together into the next batch, and when; a pure class without clock or thread.
#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <utility>
#include <vector>

#include "skep/core/time.hpp"

namespace skep::inline v0::moe {

/// When a batch is run and how large it is.
struct BatchLimits {
  std::size_t max_batch_size = 4096;  ///< samples in one batch; a larger task is a batch of its own
  std::size_t min_batch_size = 1;     ///< fewer samples wait for company, but no longer than `timeout`
  Duration timeout = 100ms;           ///< how long the oldest task waits for a batch below the minimum to fill
  std::size_t max_queued = 1024;      ///< when so many tasks wait, none waits for a minimum any more
};

/// What decides about a waiting task.
struct QueuedTask {
  std::size_t size = 0;  ///< in samples
  SteadyTime arrived;
  SteadyTime rank = arrived;                ///< of two tasks the one with the smaller rank goes first
  SteadyTime deadline = SteadyTime::max();  ///< from then on nobody wants its result
};

/// Tasks that wait, in groups of those that may share a batch, each in the order of its ranks. `Item` is a handle of a
/// task; what it holds is looked at by the caller's functions only: `same(a, b)` says whether two may share a batch,
/// `is_dropped(item)` that its caller has gone, and `expire(item)` gets those whose deadline is over.
template <class Item>
class BatchQueue {
 public:
  explicit BatchQueue(BatchLimits limits) : limits_(limits) {}

  template <class Same>
  void push(Item item, const QueuedTask& task, Same&& same) {
    group_of(item, same).insert({std::move(item), task});
    ++size_;
  }

  /// Forgets tasks that were dropped and those that have expired, as far as they could decide anything; before
  /// the calls below.
  template <class Dropped, class Expire>
  void prune(SteadyTime now, Dropped&& is_dropped, Expire&& expire) {
    for (Group& group : groups_) {
      if (limits_.min_batch_size > 1) {
        size_ -= group.remove_if([&](Waiting& task) { return is_over(task, now, is_dropped, expire); });
      } else {
        while (!group.empty() && is_over(group.front(), now, is_dropped, expire)) pop(group);
      }
    }
    tidy();
  }

  /// When there is something to do: a batch is ready since its oldest task came, or will be when that has waited for
  /// more samples long enough, or a task expires. Nullopt when nothing waits.
  [[nodiscard]] std::optional<SteadyTime> ready_at() const {
    std::optional<SteadyTime> first;
    for (const Group& group : groups_) {
      if (group.empty()) continue;
      const SteadyTime ready = ready_at(group);
      first = first ? std::min(*first, ready) : ready;
    }
    return first;
  }
  /// The rank of the task that leads the batch which `take` would give; SteadyTime::max() when none is ready.
  [[nodiscard]] SteadyTime priority(SteadyTime now) const {
    const auto group = most_urgent(now);
    return group == groups_.size() ? SteadyTime::max() : groups_[group].front().task.rank;
  }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }

  /// Of the groups that are ready takes the one with the most urgent task: that task and, in order, those behind it,
  /// until one does not fit under the maximum any more. Appends them to `batch`.
  template <class Dropped, class Expire>
  void take(SteadyTime now, std::vector<Item>& batch, Dropped&& is_dropped, Expire&& expire) {
    const auto index = most_urgent(now);
    if (index == groups_.size()) return;
    Group& group = groups_[index];
    std::size_t total = 0;
    for (bool first = true; !group.empty(); pop(group)) {
      Waiting& next = group.front();
      if (is_over(next, now, is_dropped, expire)) continue;
      const std::size_t size = next.task.size;
      if (!first && (total >= limits_.max_batch_size || size > limits_.max_batch_size - total)) break;
      first = false;
      total += size;
      batch.push_back(std::move(next.item));
    }
    tidy();
  }
  /// Takes everything that waits, of whatever shape.
  [[nodiscard]] std::vector<Item> take_all() {
    std::vector<Item> all;
    for (Group& group : groups_) {
      for (; !group.empty(); pop(group)) all.push_back(std::move(group.front().item));
    }
    groups_.clear();
    return all;
  }

 private:
  struct Waiting {
    Item item;
    QueuedTask task;
  };

  /// Tasks that may share a batch, by rank; a queue in one piece of memory that is kept.
  class Group {
   public:
    [[nodiscard]] bool empty() const noexcept { return head_ == tasks_.size(); }
    [[nodiscard]] Waiting& front() noexcept { return tasks_[head_]; }
    [[nodiscard]] const Waiting& front() const noexcept { return tasks_[head_]; }
    [[nodiscard]] auto begin() const noexcept { return tasks_.begin() + static_cast<std::ptrdiff_t>(head_); }
    [[nodiscard]] auto end() const noexcept { return tasks_.end(); }
    [[nodiscard]] std::size_t samples() const noexcept { return samples_; }

    void insert(Waiting waiting) {
      if (empty() || (head_ >= 64 && head_ * 2 >= tasks_.size())) forget_taken();
      samples_ += weight(waiting);
      auto at = tasks_.end();
      while (at != begin() && std::prev(at)->task.rank > waiting.task.rank) --at;  // almost always the end
      tasks_.insert(at, std::move(waiting));
    }
    void pop() noexcept { samples_ -= weight(tasks_[head_++]); }
    template <class Over>
    std::size_t remove_if(Over&& over) {
      std::vector<Waiting> kept;
      std::size_t removed = 0;
      for (; !empty(); pop()) {
        if (over(front())) {
          ++removed;
        } else {
          kept.push_back(std::move(front()));
        }
      }
      *this = Group();
      for (Waiting& waiting : kept) insert(std::move(waiting));
      return removed;
    }

   private:
    /// A task without samples is work as well.
    [[nodiscard]] static std::size_t weight(const Waiting& waiting) noexcept {
      return std::max<std::size_t>(waiting.task.size, 1);
    }
    void forget_taken() {
      tasks_.erase(tasks_.begin(), begin());
      head_ = 0;
    }

    std::vector<Waiting> tasks_;
    std::size_t head_ = 0;  // those before it are taken
    std::size_t samples_ = 0;
  };

  template <class Same>
  [[nodiscard]] Group& group_of(const Item& item, Same&& same) {
    Group* unused = nullptr;
    for (Group& group : groups_) {
      if (group.empty()) {
        unused = &group;
      } else if (same(group.front().item, item)) {
        return group;
      }
    }
    return unused != nullptr ? *unused : groups_.emplace_back();
  }
  void pop(Group& group) noexcept {
    group.pop();
    --size_;
  }
  /// Keeps a few empty groups, for their memory.
  void tidy() {
    if (groups_.size() > 4) std::erase_if(groups_, [](const Group& group) { return group.empty(); });
  }

  template <class Dropped, class Expire>
  [[nodiscard]] static bool is_over(Waiting& waiting, SteadyTime now, Dropped&& is_dropped, Expire&& expire) {
    if (is_dropped(std::as_const(waiting.item))) return true;
    if (waiting.task.deadline > now) return false;
    expire(std::move(waiting.item));
    return true;
  }
  [[nodiscard]] SteadyTime ready_at(const Group& group) const {
    if (group.samples() >= limits_.min_batch_size || size_ >= limits_.max_queued) return group.front().task.arrived;
    SteadyTime when = SteadyTime::max();
    for (const Waiting& waiting : group) {
      when = std::min({when, deadline_after(waiting.task.arrived, limits_.timeout), waiting.task.deadline});
    }
    return when;
  }
  /// The index of the group, or their number.
  [[nodiscard]] std::size_t most_urgent(SteadyTime now) const {
    std::size_t best = groups_.size();
    for (std::size_t i = 0; i < groups_.size(); ++i) {
      if (groups_[i].empty() || ready_at(groups_[i]) > now) continue;
      if (best == groups_.size() || groups_[i].front().task.rank < groups_[best].front().task.rank) best = i;
    }
    return best;
  }

  BatchLimits limits_;
  std::vector<Group> groups_;
  std::size_t size_ = 0;
};

}  // namespace skep::inline v0::moe
