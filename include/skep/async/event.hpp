// Event: a flag that coroutines wait for.
#pragma once

#include <memory>
#include <utility>

#include "skep/async/awaitable.hpp"
#include "skep/async/wait_list.hpp"
#include "skep/core/error.hpp"

namespace skep::inline v0 {

/// A flag that coroutines wait for.
///
/// *Lifetime:* the flag is shared with those who wait; destroying the event wakes them with errc::closed.
/// *Threads:* one executor; only `wait` suspends. *Cancellation:* a wait may be cancelled; nothing else changes.
class Event {
 public:
  explicit Event(Executor executor) : state_(std::make_shared<State>(std::move(executor))) {}
  Event(Event&&) noexcept = default;
  Event& operator=(Event&& other) noexcept {
    if (this != &other) close();
    state_ = std::move(other.state_);
    return *this;
  }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  ~Event() { close(); }

  /// Sets the flag and wakes everyone who waits, in the order in which they came.
  void set() {
    state_->set = true;
    state_->waiters.wake_all();
  }
  void reset() noexcept { state_->set = false; }
  [[nodiscard]] bool is_set() const noexcept { return state_->set; }

  /// Completes when the flag is set; at once if it is. A waiter that was woken stays woken when the flag is reset.
  /// Throws errc::closed when the event is destroyed first.
  [[nodiscard]] awaitable<void> wait() { return wait(state_); }

 private:
  struct State {
    explicit State(Executor executor) : waiters(std::move(executor)) {}
    detail::WaitList waiters;
    bool set = false;
    bool closed = false;
  };

  static awaitable<void> wait(std::shared_ptr<State> state) {
    if (state->set) co_return;
    co_await state->waiters.wait();
    if (state->closed) throw Error(errc::closed, "the event waited for was destroyed");
  }

  void close() {
    if (!state_) return;
    state_->closed = !state_->set;
    state_->waiters.wake_all();
  }

  std::shared_ptr<State> state_;
};

}  // namespace skep::inline v0
