// Event: a flag that coroutines wait for; and the queue of waiters on which the other primitives stand.
#pragma once

#include <asio/experimental/as_tuple.hpp>
#include <asio/experimental/channel.hpp>
#include <memory>
#include <system_error>
#include <utility>

#include "skep/async/awaitable.hpp"
#include "skep/async/cancellation.hpp"
#include "skep/core/error.hpp"

namespace skep::inline v0 {

namespace detail {

/// Coroutines that wait for a word, first come first served: a channel without buffer, where only those who wait get
/// what is sent. Waking is by post: nobody runs inside `wake_*`.
class WaitList {
 public:
  explicit WaitList(Executor executor) : channel_(std::move(executor), 0) {}

  /// Suspends until woken; false when cancelled instead. The list must live until then.
  [[nodiscard]] awaitable<bool> try_wait() {
    const auto [error, word] = co_await channel_.async_receive(asio::experimental::as_tuple(use_awaitable));
    co_return !error;
  }
  /// Suspends until woken; throws when cancelled.
  [[nodiscard]] awaitable<void> wait() {
    const auto [error, word] = co_await channel_.async_receive(asio::experimental::as_tuple(use_awaitable));
    if (error) throw_cancelled();
  }
  /// @return false when nobody waits.
  bool wake_one() { return channel_.try_send(std::error_code{}, true); }
  void wake_all() {
    while (wake_one()) {
    }
  }

 private:
  // The bool says nothing; Asio 1.22 cannot name the traits of a channel for error codes alone.
  asio::experimental::channel<asio::any_io_executor, void(std::error_code, bool)> channel_;
};

}  // namespace detail

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
