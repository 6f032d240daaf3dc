#include "skep/async/event.hpp"

#include <string>

#include "skep/async/scope.hpp"
#include "support/coroutine.hpp"
#include "support/manual_clock.hpp"

using namespace skep;
using skep::test::settle;

CO_TEST_CASE("a wait for a set event completes at once") {
  Event event(co_await asio::this_coro::executor);
  event.set();
  co_await event.wait();
  CHECK(event.is_set());
}

CO_TEST_CASE("set wakes every waiter in the order of coming, and not inside the call") {
  const auto executor = co_await asio::this_coro::executor;
  Event event(executor);
  Scope scope(executor);
  std::string order;
  for (const char name : {'a', 'b', 'c'}) {
    scope.spawn([&, name]() -> awaitable<void> {
      co_await event.wait();
      order.push_back(name);
    });
  }
  event.set();
  CHECK(order.empty());
  co_await scope.join();
  CHECK(order == "abc");
}

CO_TEST_CASE("who was woken stays woken when the event is reset") {
  const auto executor = co_await asio::this_coro::executor;
  Event event(executor);
  Scope scope(executor);
  int woken = 0;
  scope.spawn([&]() -> awaitable<void> {
    co_await event.wait();
    ++woken;
  });
  event.set();
  event.reset();
  scope.spawn([&]() -> awaitable<void> {
    co_await event.wait();
    ++woken;
  });
  co_await settle();
  CHECK(woken == 1);
  CHECK(scope.size() == 1);
  event.set();
  co_await scope.join();
  CHECK(woken == 2);
}

CO_TEST_CASE("a cancelled wait throws operation_aborted and leaves the others waiting") {
  const auto executor = co_await asio::this_coro::executor;
  Event event(executor);
  Scope cancelled(executor), others(executor);
  std::exception_ptr thrown;
  bool woken = false;
  cancelled.spawn([&]() -> awaitable<void> {
    try {
      co_await event.wait();
    } catch (...) {
      thrown = std::current_exception();
    }
  });
  others.spawn([&]() -> awaitable<void> {
    co_await event.wait();
    woken = true;
  });
  cancelled.cancel();
  co_await cancelled.join();
  CHECK(is_cancellation(thrown));
  CHECK_FALSE(woken);
  event.set();
  co_await others.join();
  CHECK(woken);
}

CO_TEST_CASE("destroying an event wakes its waiters with errc::closed") {
  const auto executor = co_await asio::this_coro::executor;
  auto event = std::make_unique<Event>(executor);
  Scope scope(executor);
  scope.spawn([&]() -> awaitable<void> { co_await event->wait(); });
  event.reset();
  co_await scope.join();
  REQUIRE(scope.failure());
  try {
    std::rethrow_exception(scope.failure());
  } catch (const Error& error) {
    CHECK(error.code() == errc::closed);
  }
}

CO_TEST_CASE("an event destroyed right after set has still been set for its waiters") {
  const auto executor = co_await asio::this_coro::executor;
  auto event = std::make_unique<Event>(executor);
  Scope scope(executor);
  bool woken = false;
  scope.spawn([&]() -> awaitable<void> {
    co_await event->wait();
    woken = true;
  });
  event->set();
  event.reset();
  scope.cancel();  // too late: it was woken
  co_await scope.join();
  CHECK(woken);
}

TEST_CASE("an io_context that is destroyed under a waiter leaks nothing") {
  asio::io_context io;
  asio::co_spawn(
      io,
      [&]() -> awaitable<void> {
        Event event(co_await asio::this_coro::executor);
        co_await event.wait();
      },
      [](std::exception_ptr) { FAIL("must not end"); });
  io.poll();
}
