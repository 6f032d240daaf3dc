// Future: the result of a call that runs on the DHT's thread, for threads that block, and that may give it up.
#pragma once

#include <chrono>
#include <exception>
#include <future>
#include <memory>
#include <utility>

#include "skep/async/awaitable.hpp"
#include "skep/async/cancellation.hpp"
#include "skep/async/outcome.hpp"
#include "skep/async/runner.hpp"
#include "skep/async/scope.hpp"
#include "skep/core/error.hpp"
#include "skep/core/time.hpp"

namespace skep::inline v0::dht {

namespace detail {

/// Lets another thread cancel a coroutine.
class StopSwitch {
 public:
  explicit StopSwitch(Executor executor) : scope_(std::move(executor), "dht") {}

  /// Runs an operation until its end, or until somebody cancels it; then throws errc::cancelled.
  template <class T>
  static awaitable<T> run(std::shared_ptr<StopSwitch> self, awaitable<T> operation) {
    Outcome<T> outcome;
    self->scope_.spawn(skep::detail::run_into(std::move(operation), outcome));
    co_await self->scope_.join();
    if (!outcome && !outcome.error()) throw_cancelled();  // before it began
    co_return std::move(outcome).get();
  }
  /// Any thread; nothing happens when it has ended.
  void cancel() { scope_.cancel(); }

 private:
  Scope scope_;
};

}  // namespace detail

/// The result of a call of `DHT`. Dropping it leaves the call to itself. *Threads:* any one at a time.
template <class T>
class Future {
 public:
  Future() noexcept = default;
  Future(std::future<T> result, const std::shared_ptr<detail::StopSwitch>& stop)
      : result_(std::move(result)), stop_(stop) {}

  /// Waits, and returns the value or throws what the call threw: errc::cancelled after `cancel`. Only once. Throws
  /// errc::wrong_thread on a thread that must not block.
  T get() {
    require_may_block("Future::get");
    try {
      return result_.get();
    } catch (const Error& error) {
      if (!cancelled_ || error.code() != errc::closed) throw;
    }
    throw Error(errc::cancelled, "the call was cancelled");
  }
  /// Waits at most so long. @return whether the result is there
  bool wait_for(Duration time) {
    require_may_block("Future::wait_for");
    return result_.wait_for(time) == std::future_status::ready;
  }
  [[nodiscard]] bool ready() const { return result_.wait_for(Duration::zero()) == std::future_status::ready; }
  [[nodiscard]] bool valid() const noexcept { return result_.valid(); }

  /// Hands the result over to somebody who will not cancel.
  operator std::future<T>() && noexcept { return std::move(result_); }  // NOLINT(*-explicit-*)

  /// Ends the call on the DHT's thread, not only the waiting for it. Does not wait.
  void cancel() {
    cancelled_ = true;
    if (const auto stop = stop_.lock()) stop->cancel();
  }

 private:
  std::future<T> result_;
  bool cancelled_ = false;
  std::weak_ptr<detail::StopSwitch> stop_;  // owned by the coroutine: nothing of it outlives the DHT's thread
};

}  // namespace skep::inline v0::dht
