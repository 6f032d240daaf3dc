#include "skep/async/scope.hpp"

#include <memory>
#include <stdexcept>
#include <string>
#include <thread>

#include "support/coroutine.hpp"
#include "support/manual_clock.hpp"

using namespace skep;
using skep::test::settle;

namespace {
std::string last_log;
}

CO_TEST_CASE("join completes when the last child has ended") {
  const auto executor = co_await asio::this_coro::executor;
  Event go(executor);
  Scope scope(executor);
  int ended = 0;
  for (int i = 0; i < 3; ++i) {
    scope.spawn([&]() -> awaitable<void> {
      co_await go.wait();
      ++ended;
    });
  }
  CHECK(scope.size() == 3);
  go.set();
  co_await scope.join();
  CHECK(ended == 3);
  CHECK(scope.size() == 0);
  co_await scope.join();  // an empty scope joins at once
}

CO_TEST_CASE("a child starts at once and keeps the captures of its lambda") {
  const auto executor = co_await asio::this_coro::executor;
  Scope scope(executor);
  auto owned = std::make_shared<int>(1);
  const std::weak_ptr<int> watch = owned;
  Event go(executor);
  bool started = false;
  scope.spawn([owned = std::move(owned), &go, &started]() -> awaitable<void> {
    started = true;
    co_await go.wait();
    CHECK(*owned == 1);
  });
  CHECK(started);
  CHECK_FALSE(watch.expired());
  go.set();
  co_await scope.join();
  CHECK(watch.expired());
}

CO_TEST_CASE("cancel stops every child and lets no new one in") {
  const auto executor = co_await asio::this_coro::executor;
  Event never(executor);
  Scope scope(executor);
  for (int i = 0; i < 3; ++i) scope.spawn(never.wait());
  scope.cancel();
  scope.cancel();
  bool started = false;
  scope.spawn([&]() -> awaitable<void> {
    started = true;
    co_return;
  });
  co_await scope.join();
  CHECK_FALSE(started);
  CHECK_FALSE(scope.failure());
}

CO_TEST_CASE("a failing child is logged and the first failure kept; the others go on") {
  const auto executor = co_await asio::this_coro::executor;
  Event go(executor);
  Scope scope(executor, "bees");
  bool ended = false;
  set_log_hook([](LogLevel, std::string_view component, std::string_view message) noexcept {
    last_log = std::string(component) + ": " + std::string(message);
  });
  scope.spawn([]() -> awaitable<void> {
    throw std::runtime_error("stung");
    co_return;
  });
  scope.spawn([&]() -> awaitable<void> {
    co_await go.wait();
    ended = true;
  });
  co_await settle();
  set_log_hook(nullptr);
  CHECK(last_log == "bees: stung");
  CHECK(scope.size() == 1);
  go.set();
  co_await scope.join();
  CHECK(ended);
  REQUIRE(scope.failure());
  CHECK_THROWS_WITH_AS(std::rethrow_exception(scope.failure()), "stung", std::runtime_error);
}

CO_TEST_CASE("a joiner that is cancelled cancels the children and still waits for their end") {
  const auto executor = co_await asio::this_coro::executor;
  Event never(executor), cleanup(executor);
  Scope outer(executor), inner(executor);
  bool child_ended = false, joined = false;
  inner.spawn([&]() -> awaitable<void> {
    try {
      co_await never.wait();
    } catch (const std::system_error&) {
    }
    co_await clear_cancellation();
    co_await cleanup.wait();
    child_ended = true;
  });
  outer.spawn([&]() -> awaitable<void> {
    co_await inner.join();
    joined = true;
    CHECK(child_ended);
    co_await never.wait();  // the cancellation is still there
  });
  outer.cancel();
  co_await settle();
  CHECK_FALSE(joined);
  cleanup.set();
  co_await outer.join();
  CHECK(joined);
}

CO_TEST_CASE("join works in the cleanup of a coroutine that was cancelled") {
  const auto executor = co_await asio::this_coro::executor;
  Event never(executor);
  Scope outer(executor);
  bool joined = false;
  outer.spawn([&]() -> awaitable<void> {
    Scope inner(executor);
    inner.spawn(never.wait());
    try {
      co_await never.wait();
    } catch (const std::system_error&) {
    }
    co_await clear_cancellation();
    inner.cancel();
    co_await inner.join();
    joined = true;
  });
  outer.cancel();
  co_await outer.join();
  CHECK(joined);
}

CO_TEST_CASE("destroying a scope cancels its children; they end on their own, with the state they share") {
  const auto executor = co_await asio::this_coro::executor;
  const auto ended = std::make_shared<bool>(false);
  Event never(executor);
  {
    Scope scope(executor);
    scope.spawn([ended, &never, executor]() -> awaitable<void> {
      try {
        co_await never.wait();
      } catch (const std::system_error&) {
      }
      co_await clear_cancellation();
      co_await settle();
      *ended = true;
    });
  }
  co_await settle();
  co_await settle();
  CHECK(*ended);
}

TEST_CASE("an io_context that is destroyed under a scope with children leaks nothing") {
  asio::io_context io;
  auto scope = std::make_unique<Scope>(io.get_executor());
  scope->spawn([&]() -> awaitable<void> {
    Event event(co_await asio::this_coro::executor);
    Scope inner(co_await asio::this_coro::executor);
    inner.spawn(event.wait());
    co_await inner.join();
  });
  io.poll();
  SUBCASE("the scope first") { scope.reset(); }
  SUBCASE("the scope first, and its children had time") {
    scope.reset();
    io.poll();
  }
}

TEST_CASE("cancel from another thread is posted to the executor") {
  asio::io_context io;
  Scope scope(io.get_executor());
  scope.spawn([&]() -> awaitable<void> {
    Event event(co_await asio::this_coro::executor);
    co_await event.wait();
  });
  std::thread other([&] { scope.cancel(); });
  io.run();
  other.join();
  CHECK(scope.size() == 0);
}
