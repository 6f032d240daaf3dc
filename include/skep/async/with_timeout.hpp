// with_timeout: the one place where a time limit is put on an awaitable.
#pragma once

#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/co_spawn.hpp>
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
struct TimeLimit final : Deadline {
  void expired() noexcept override {
    over = true;
    signal.emit(asio::cancellation_type::terminal);
  }
  asio::cancellation_signal signal;
  bool over = false;
};

/// Runs `operation` until its end, or `deadline` and then its end; says whether the deadline came first.
template <DeadlineClock C, class T>
awaitable<bool> race(C& clock, SteadyTime deadline, awaitable<T> operation, Outcome<T>& outcome) {
  const auto executor = co_await asio::this_coro::executor;
  TimeLimit limit;
  auto state = co_await asio::this_coro::cancellation_state;
  auto outer = state.slot();
  if (outer.is_connected()) outer.assign([&limit](asio::cancellation_type type) { limit.signal.emit(type); });
  clock.deadlines().insert(limit, deadline);
  co_await asio::co_spawn(executor, run_into(std::move(operation), outcome),
                          asio::bind_cancellation_slot(limit.signal.slot(), use_awaitable));
  co_return limit.over;
}

template <AlarmClock C, class T>
awaitable<bool> race(C& clock, SteadyTime deadline, awaitable<T> operation, Outcome<T>& outcome) {
  const auto executor = co_await asio::this_coro::executor;
  TimeLimit limit;
  auto state = co_await asio::this_coro::cancellation_state;
  auto outer = state.slot();
  if (outer.is_connected()) outer.assign([&limit](asio::cancellation_type type) { limit.signal.emit(type); });
  const auto alarm = clock.alarm(deadline, [&limit] { limit.expired(); });
  co_await asio::co_spawn(executor, run_into(std::move(operation), outcome),
                          asio::bind_cancellation_slot(limit.signal.slot(), use_awaitable));
  co_return limit.over;
}

template <Clock C, class T>
awaitable<bool> race(C& clock, SteadyTime deadline, awaitable<T> operation, Outcome<T>& outcome) {
  const auto group = std::make_shared<ChildGroup>(co_await asio::this_coro::executor);
  bool ended = false;
  bool over = false;
  group->spawn(run_into(std::move(operation), outcome), [&](const std::exception_ptr&) {
    ended = true;
    group->cancel();
  });
  std::exception_ptr broken;  // a clock that cannot wait
  group->spawn(clock.sleep_until(deadline), [&](std::exception_ptr thrown) {
    if (ended) return;
    over = !thrown;
    if (!is_cancellation(thrown)) broken = std::move(thrown);
    group->cancel();
  });
  co_await ChildGroup::join(group);
  if (broken && !outcome) std::rethrow_exception(broken);
  co_return over;
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
