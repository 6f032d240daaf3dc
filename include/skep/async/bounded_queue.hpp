// BoundedQueue: a queue between coroutines, with a limit, an end, and backpressure.
#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <optional>
#include <utility>

#include "skep/async/awaitable.hpp"
#include "skep/async/wait_list.hpp"
#include "skep/core/error.hpp"

namespace skep::inline v0 {

/// At most `capacity` items, first in first out; who waits is served in the order of coming. After `close` what is in
/// the queue can still be taken.
///
/// *Lifetime:* the state is shared with those who wait; the destructor closes. *Threads:* one executor.
/// *Cancellation:* a cancelled push drops its item, a cancelled pop takes none.
template <class T>
class BoundedQueue {
 public:
  BoundedQueue(Executor executor, std::size_t capacity)
      : state_(std::make_shared<State>(std::move(executor), capacity)) {}
  BoundedQueue(BoundedQueue&&) noexcept = default;
  BoundedQueue(const BoundedQueue&) = delete;
  BoundedQueue& operator=(const BoundedQueue&) = delete;
  BoundedQueue& operator=(BoundedQueue&&) = delete;
  ~BoundedQueue() {
    if (state_) close();
  }

  /// Waits for room. Throws errc::closed once the queue is closed.
  [[nodiscard]] awaitable<void> push(T item) { return push(state_, std::move(item)); }
  /// @return false when the queue is full, others wait for room, or it is closed; `item` is then left as it was.
  [[nodiscard]] bool try_push(T& item) {
    if (state_->closed || !state_->has_room()) return false;
    state_->put(std::move(item));
    return true;
  }
  [[nodiscard]] bool try_push(T&& item) { return try_push(item); }

  /// Waits for an item; nullopt once the queue is closed and empty.
  [[nodiscard]] awaitable<std::optional<T>> pop() { return pop(state_); }
  /// An item that is there and that nobody else waits for.
  [[nodiscard]] std::optional<T> try_pop() {
    if (!state_->has_item()) return std::nullopt;
    return state_->take();
  }

  /// Lets nothing more in; wakes everyone. Idempotent.
  void close() {
    state_->closed = true;
    state_->readers.wake_all();
    state_->writers.wake_all();
  }

  [[nodiscard]] bool closed() const noexcept { return state_->closed; }
  [[nodiscard]] std::size_t size() const noexcept { return state_->items.size(); }
  [[nodiscard]] std::size_t capacity() const noexcept { return state_->capacity; }

 private:
  struct State {
    State(Executor executor, std::size_t limit) : readers(executor), writers(executor), capacity(limit) {}

    // What was promised to somebody who was woken but has not run yet is not there for others.
    [[nodiscard]] bool has_item() const noexcept { return items.size() > promised_items; }
    [[nodiscard]] bool has_room() const noexcept { return items.size() + promised_room < capacity; }
    void put(T item) {
      items.push_back(std::move(item));
      if (readers.wake_one()) ++promised_items;
    }
    T take() {
      T item = std::move(items.front());
      items.pop_front();
      if (writers.wake_one()) ++promised_room;
      return item;
    }

    detail::WaitList readers;
    detail::WaitList writers;
    std::deque<T> items;
    std::size_t capacity;
    std::size_t promised_items = 0;
    std::size_t promised_room = 0;
    bool closed = false;
  };

  static awaitable<void> push(std::shared_ptr<State> state, T item) {
    if (!state->closed && !state->has_room()) {
      co_await state->writers.wait();
      if (state->promised_room != 0) --state->promised_room;  // none when `close` woke us
    }
    if (state->closed) throw Error(errc::closed, "the queue is closed");
    state->put(std::move(item));
  }

  static awaitable<std::optional<T>> pop(std::shared_ptr<State> state) {
    if (!state->closed && !state->has_item()) {
      co_await state->readers.wait();
      if (state->promised_items != 0) --state->promised_items;
    }
    if (state->items.empty()) co_return std::nullopt;
    co_return state->take();
  }

  std::shared_ptr<State> state_;
};

}  // namespace skep::inline v0
