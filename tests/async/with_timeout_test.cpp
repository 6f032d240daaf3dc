#include "skep/async/with_timeout.hpp"

#include <memory>
#include <stdexcept>

#include "skep/async/asio_clock.hpp"
#include "skep/async/event.hpp"
#include "support/coroutine.hpp"
#include "support/manual_clock.hpp"

using namespace skep;
using skep::test::ManualClock;
using skep::test::settle;

namespace {

/// Real time with a wheel, as a Host has it.
class WheelClock : public AsioClock {
 public:
  explicit WheelClock(const Executor& executor)
      : AsioClock(executor), deadlines_(std::make_unique<Deadlines>(executor, 1ms)) {}
  Deadlines& deadlines() { return *deadlines_; }

 private:
  std::unique_ptr<Deadlines> deadlines_;
};
static_assert(DeadlineClock<WheelClock> && !DeadlineClock<AsioClock>);

awaitable<std::unique_ptr<int>> wait_and_give(Event& event, int value) {
  co_await event.wait();
  co_return std::make_unique<int>(value);
}

awaitable<int> fail_after(Event& event) {
  co_await event.wait();
  throw std::runtime_error("its own error");
}

/// Finishes its work although it is cancelled.
awaitable<int> stubborn(Event& never) {
  try {
    co_await never.wait();
  } catch (const std::system_error&) {
  }
  co_return 5;
}

std::error_code code_of(const std::exception_ptr& thrown) {
  try {
    if (thrown) std::rethrow_exception(thrown);
  } catch (const std::system_error& error) {
    return error.code();
  }
  return {};
}

template <class C>
awaitable<void> check_value(C clock) {
  Event event(clock.executor());
  event.set();
  const auto value = co_await with_timeout(clock, 10s, wait_and_give(event, 3));
  CHECK(*value == 3);
  const auto again = co_await with_timeout(clock, unlimited, wait_and_give(event, 4));
  CHECK(*again == 4);
  co_await with_timeout(clock, 10s, event.wait());
}

template <class C>
awaitable<void> check_error(C clock) {
  Event event(clock.executor());
  event.set();
  std::string text;
  try {
    (void)co_await with_timeout(clock, 10s, fail_after(event));
  } catch (const std::runtime_error& error) {
    text = error.what();
  }
  CHECK(text == "its own error");
}

template <class C>
awaitable<void> check_outer_cancellation(C clock) {
  Event never(clock.executor());
  Scope scope(clock.executor());
  std::exception_ptr thrown;
  scope.spawn([&]() -> awaitable<void> {
    try {
      co_await with_timeout(clock, 60s, never.wait());
    } catch (...) {
      thrown = std::current_exception();
    }
  });
  co_await settle();
  scope.cancel();
  co_await scope.join();
  CHECK(is_cancellation(thrown));
}

/// An operation that cancels its own caller and still has to clean up.
awaitable<void> cancel_and_linger(Scope& caller, Event& end, std::string& order) {
  caller.cancel();
  try {
    co_await end.wait();
  } catch (const std::system_error&) {  // NOLINT(bugprone-empty-catch): cancelled itself
  }
  co_await clear_cancellation();
  co_await end.wait();
  order += "operation ";
}

template <class C>
awaitable<void> check_own_cancellation(C clock) {
  Event end(clock.executor());
  Scope scope(clock.executor());
  std::string order;
  scope.spawn([&]() -> awaitable<void> {
    try {
      co_await with_timeout(clock, 60s, cancel_and_linger(scope, end, order));
    } catch (const std::system_error&) {  // NOLINT(bugprone-empty-catch)
    }
    order += "caller";
  });
  co_await settle();
  CHECK(order.empty());
  end.set();
  co_await scope.join();
  CHECK(order == "operation caller");
}

template <class C>
awaitable<void> check_time_out(C clock) {
  Event never(clock.executor());
  std::exception_ptr thrown;
  try {
    co_await with_timeout(clock, 5ms, never.wait(), "the wait");
  } catch (...) {
    thrown = std::current_exception();
  }
  REQUIRE(thrown);
  CHECK(code_of(thrown) == errc::timed_out);
  CHECK(detail::describe(thrown) == "skep: the wait did not finish within 5 ms");
  const int kept = co_await with_timeout(clock, 5ms, stubborn(never));
  CHECK(kept == 5);
}

}  // namespace

CO_TEST_CASE("a value in time is returned") {
  const auto executor = co_await asio::this_coro::executor;
  co_await check_value(ManualClock(executor));
  co_await check_value(AsioClock(executor));
  co_await check_value(WheelClock(executor));
}

CO_TEST_CASE("an error in time is thrown as it is") {
  const auto executor = co_await asio::this_coro::executor;
  co_await check_error(ManualClock(executor));
  co_await check_error(AsioClock(executor));
  co_await check_error(WheelClock(executor));
}

CO_TEST_CASE("cancelling the caller cancels the operation and is no time-out") {
  const auto executor = co_await asio::this_coro::executor;
  co_await check_outer_cancellation(ManualClock(executor));
  co_await check_outer_cancellation(AsioClock(executor));
  co_await check_outer_cancellation(WheelClock(executor));
}

CO_TEST_CASE("an operation that cancels its own caller is awaited all the same") {
  const auto executor = co_await asio::this_coro::executor;
  co_await check_own_cancellation(ManualClock(executor));
  co_await check_own_cancellation(AsioClock(executor));
  co_await check_own_cancellation(WheelClock(executor));
}

CO_TEST_CASE("after the deadline errc::timed_out, or the value that came all the same") {
  const auto executor = co_await asio::this_coro::executor;
  co_await check_time_out(AsioClock(executor));
  co_await check_time_out(WheelClock(executor));
}

CO_TEST_CASE("in virtual time: not before the deadline, and at it") {
  const auto executor = co_await asio::this_coro::executor;
  ManualClock clock(executor);
  Event never(executor);
  Scope scope(executor);
  std::exception_ptr thrown;
  scope.spawn([&]() -> awaitable<void> {
    try {
      co_await with_timeout(clock, 60s, never.wait());
    } catch (...) {
      thrown = std::current_exception();
    }
  });
  co_await clock.advance(59'999ms);
  CHECK(scope.size() == 1);
  co_await clock.advance(1ms);
  co_await scope.join();
  CHECK(code_of(thrown) == errc::timed_out);
  CHECK(clock.sleepers() == 0);
}

CO_TEST_CASE("a success leaves no sleeper and no deadline behind") {
  const auto executor = co_await asio::this_coro::executor;
  ManualClock manual(executor);
  WheelClock wheel(executor);
  Event event(executor);
  event.set();
  co_await with_timeout(manual, 1h, event.wait());
  co_await with_timeout(wheel, 1h, event.wait());
  CHECK(manual.sleepers() == 0);
  CHECK(wheel.deadlines().size() == 0);
}

CO_TEST_CASE("no time at all throws without starting the operation") {
  ManualClock clock(co_await asio::this_coro::executor);
  bool started = false;
  auto operation = [&]() -> awaitable<void> {
    started = true;
    co_return;
  };
  std::exception_ptr thrown;
  try {
    co_await with_timeout(clock, 0s, operation());
  } catch (...) {
    thrown = std::current_exception();
  }
  CHECK(code_of(thrown) == errc::timed_out);
  CHECK_FALSE(started);
}

CO_TEST_CASE("nested limits: the inner one's time-out is the inner one's") {
  const auto executor = co_await asio::this_coro::executor;
  ManualClock clock(executor);
  Event never(executor);
  Scope scope(executor);
  std::string text;
  scope.spawn([&]() -> awaitable<void> {
    try {
      co_await with_timeout(clock, 10s, with_timeout(clock, 2500ms, never.wait(), "the inner"), "the outer");
    } catch (const Error& error) {
      text = error.what();
    }
  });
  co_await clock.advance(3s);
  co_await scope.join();
  CHECK(text == "skep: the inner did not finish within 2.5 s");
}

CO_TEST_CASE("with_deadline takes a point in time") {
  const auto executor = co_await asio::this_coro::executor;
  ManualClock clock(executor);
  Event event(executor);
  Scope scope(executor);
  std::exception_ptr thrown;
  scope.spawn([&]() -> awaitable<void> {
    try {
      co_await with_deadline(clock, clock.steady_now() + 1s, event.wait());
    } catch (...) {
      thrown = std::current_exception();
    }
  });
  co_await clock.advance(1s);
  co_await scope.join();
  CHECK(code_of(thrown) == errc::timed_out);
  event.set();
  co_await with_deadline(clock, SteadyTime::max(), event.wait());
}
