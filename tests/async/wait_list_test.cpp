#include "skep/async/wait_list.hpp"

#include <memory>
#include <string>

#include "skep/async/scope.hpp"
#include "support/coroutine.hpp"
#include "support/manual_clock.hpp"

using namespace skep;
using skep::detail::WaitList;
using skep::test::settle;

CO_TEST_CASE("wake_one wakes the one who came first") {
  const auto executor = co_await asio::this_coro::executor;
  WaitList list(executor);
  Scope scope(executor);
  std::string order;
  for (const char name : {'a', 'b', 'c'}) {
    scope.spawn([&, name]() -> awaitable<void> {
      co_await list.wait();
      order.push_back(name);
    });
  }
  CHECK(list.wake_one());
  co_await settle();
  CHECK(order == "a");
  list.wake_all();
  co_await scope.join();
  CHECK(order == "abc");
  CHECK_FALSE(list.wake_one());
}

CO_TEST_CASE("resume_one runs the first waiter inside the call, even when that ends the list") {
  const auto executor = co_await asio::this_coro::executor;
  auto list = std::make_unique<WaitList>(executor);
  Scope scope(executor);
  bool resumed = false;
  scope.spawn([&]() -> awaitable<void> {
    resumed = co_await list->try_wait();
    list.reset();
  });
  list->resume_one();
  CHECK(resumed);
  CHECK(list == nullptr);
  co_await scope.join();
}

CO_TEST_CASE("a cancelled waiter leaves the list, the others keep their places") {
  const auto executor = co_await asio::this_coro::executor;
  WaitList list(executor);
  Scope first(executor), second(executor);
  bool cancelled = false, woken = false;
  first.spawn([&]() -> awaitable<void> { cancelled = !co_await list.try_wait(); });
  second.spawn([&]() -> awaitable<void> { woken = co_await list.try_wait(); });
  first.cancel();
  CHECK(list.wake_one());
  CHECK_FALSE(list.wake_one());
  co_await first.join();
  co_await second.join();
  CHECK(cancelled);
  CHECK(woken);
}

CO_TEST_CASE("who was woken and then cancelled before running was woken") {
  const auto executor = co_await asio::this_coro::executor;
  WaitList list(executor);
  Scope scope(executor);
  bool woken = false;
  scope.spawn([&]() -> awaitable<void> { woken = co_await list.try_wait(); });
  list.wake_one();
  scope.cancel();
  scope.cancel();
  co_await scope.join();
  CHECK(woken);
}

CO_TEST_CASE("destroying a list cancels its waiters") {
  const auto executor = co_await asio::this_coro::executor;
  auto list = std::make_unique<WaitList>(executor);
  Scope scope(executor);
  bool woken = true;
  scope.spawn([&]() -> awaitable<void> { woken = co_await list->try_wait(); });
  list.reset();
  scope.cancel();
  co_await scope.join();
  CHECK_FALSE(woken);
}

TEST_CASE("an io_context destroyed under many lists drops their waiters, also when a list lives in a waiter") {
  asio::io_context io;
  WaitList shared(io.get_executor());
  for (int i = 0; i < 3; ++i) {
    asio::co_spawn(
        io,
        [&shared]() -> awaitable<void> {
          WaitList own(co_await asio::this_coro::executor);
          Scope scope(co_await asio::this_coro::executor);
          scope.spawn(own.wait());
          scope.spawn(shared.wait());
          co_await own.wait();
        },
        [](std::exception_ptr) { FAIL("must not end"); });
  }
  io.poll();
}
