// with_timeout: the one place where a time limit is put on an awaitable.
#pragma once

#include <asio/this_coro.hpp>
#include <chrono>
#include <concepts>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "skep/async/awaitable.hpp"
#include "skep/async/cancellation.hpp"
#include "skep/async/deadline_wheel.hpp"
#include "skep/async/outcome.hpp"
#include "skep/async/scope.hpp"
#include "skep/core/error.hpp"
#include "skep/core/time.hpp"

namespace skep::inline v0 {

/// A clock that also keeps a wheel of deadlines for its executor, as `p2p::Host` does: a time limit then costs no
/// timer.
template <class C>
concept DeadlineClock = Clock<C> && requires(C& clock) {
  { clock.deadlines() } -> std::same_as<Deadlines&>;
};

/// A clock that calls back, as a `sim::Host` does: a time limit then costs no coroutine.
template <class C>
concept AlarmClock =
    Clock<C> && requires(C& clock, SteadyTime when, std::function<void()> then) { clock.alarm(when, std::move(then)); };

namespace detail {

/// "250 ms" or "2.5 s".
[[nodiscard]] inline std::string describe_wait(Duration wait) {
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(wait).count();
  if (ms < 1000) return std::to_string(ms) + " ms";
  std::string text = std::to_string(ms / 1000);
  if (ms % 1000 >= 100) text += "." + std::to_string(ms % 1000 / 100);
  return text + " s";
}

/// Cancels its operation when its time has come.
class TimeLimit final : public Deadline {
 public:
  explicit TimeLimit(Scope& operation) noexcept : operation_(&operation) {}
  void expired() noexcept override {
    over_ = true;
    operation_->cancel();
  }
  [[nodiscard]] bool over() const noexcept { return over_; }

 private:
  Scope* operation_;
  bool over_ = false;
};

/// Runs `operation` until its end, or `deadline` and then its end; says whether the deadline came first.
template <Clock C, class T>
awaitable<bool> race(C& clock, SteadyTime deadline, awaitable<T> operation, Outcome<T>& outcome) {
  const auto executor = co_await asio::this_coro::executor;
  // the operation refers to this frame: its end is awaited, whatever it or others cancel meanwhile
  const bool throws = co_await asio::this_coro::throw_if_cancelled();
  co_await asio::this_coro::throw_if_cancelled(false);
  Scope scope(executor, "operation");
  TimeLimit limit(scope);
  if constexpr (DeadlineClock<C>) {
    clock.deadlines().insert(limit, deadline);
    scope.spawn(run_into(std::move(operation), outcome));
    co_await scope.join();
  } else if constexpr (AlarmClock<C>) {
    const auto alarm = clock.alarm(deadline, [&limit] { limit.expired(); });
    scope.spawn(run_into(std::move(operation), outcome));
    co_await scope.join();
  } else {
    Scope timer(executor, "timer");
    Outcome<void> rang;
    scope.spawn(run_into(std::move(operation), outcome));
    timer.spawn([&]() -> awaitable<void> {
      co_await run_into(clock.sleep_until(deadline), rang);
      if (!is_cancellation(rang.error())) limit.expired();
    });
    co_await scope.join();
    const bool was_over = limit.over();
    timer.cancel();
    co_await timer.join();
    co_await asio::this_coro::throw_if_cancelled(throws);
    if (rang.error() && !is_cancellation(rang.error()) && !outcome) std::rethrow_exception(rang.error());
    co_return was_over;
  }
  co_await asio::this_coro::throw_if_cancelled(throws);
  co_return limit.over();
}

}  // namespace detail

/// Awaits `operation` for as long as `clock` has not reached `deadline`; then cancels it, waits for its end and throws
/// errc::timed_out ("skep: `what` did not finish in time"). A value that comes in spite of that is returned: nothing
/// that was consumed is lost. An error of the operation before the deadline is thrown as it is.
/// Cancelling the caller cancels the operation. `clock` must live until the end and share the caller's executor.
/// @param what  a literal for the message
template <Clock C, class T>
[[nodiscard]] awaitable<T> with_deadline(C& clock, SteadyTime deadline, awaitable<T> operation,
                                         const char* what = "an operation") {
  if (deadline == SteadyTime::max()) co_return co_await std::move(operation);
  Outcome<T> outcome;
  const bool over = co_await detail::race(clock, deadline, std::move(operation), outcome);
  if (over && !outcome) throw Error(errc::timed_out, std::string(what) + " did not finish in time");
  co_return std::move(outcome).get();
}

/// `with_deadline` for a wait that begins now; `unlimited` sets none, zero or less throws without starting.
template <Clock C, class T>
[[nodiscard]] awaitable<T> with_timeout(C& clock, Duration wait, awaitable<T> operation,
                                        const char* what = "an operation") {
  if (wait == unlimited) co_return co_await std::move(operation);
  Outcome<T> outcome;
  bool over = true;
  if (wait > Duration::zero()) {
    over = co_await detail::race(clock, deadline_after(clock.steady_now(), wait), std::move(operation), outcome);
  }
  if (over && !outcome) {
    throw Error(errc::timed_out, std::string(what) + " did not finish within " + detail::describe_wait(wait));
  }
  co_return std::move(outcome).get();
}

}  // namespace skep::inline v0
