#include "skep/async/semaphore.hpp"

#include <string>

#include "skep/async/scope.hpp"
#include "support/coroutine.hpp"
#include "support/manual_clock.hpp"

using namespace skep;
using skep::test::settle;

CO_TEST_CASE("no more than the permits run at once, first come first served") {
  const auto executor = co_await asio::this_coro::executor;
  Semaphore semaphore(executor, 2);
  Scope scope(executor);
  int running = 0, most = 0;
  std::string order;
  for (const char name : {'a', 'b', 'c', 'd', 'e'}) {
    scope.spawn([&, name]() -> awaitable<void> {
      const auto permit = co_await semaphore.acquire();
      most = std::max(most, ++running);
      order.push_back(name);
      co_await settle();
      --running;
    });
  }
  CHECK(semaphore.available() == 0);
  CHECK(semaphore.waiting() == 3);
  co_await scope.join();
  CHECK(most == 2);
  CHECK(order == "abcde");
  CHECK(semaphore.available() == 2);
}

CO_TEST_CASE("who wants many is not overtaken by who wants few") {
  const auto executor = co_await asio::this_coro::executor;
  Semaphore semaphore(executor, 3);
  Scope scope(executor);
  std::string order;
  auto first = co_await semaphore.acquire(1);
  auto second = co_await semaphore.acquire(1);
  scope.spawn([&]() -> awaitable<void> {
    const auto permit = co_await semaphore.acquire(3);
    order += "big ";
  });
  scope.spawn([&]() -> awaitable<void> {
    const auto permit = co_await semaphore.acquire(1);
    order += "small ";
  });
  CHECK_FALSE(semaphore.try_acquire());
  co_await settle();
  CHECK(order.empty());
  first.release();
  co_await settle();
  CHECK(order.empty());
  second = Semaphore::Permit();
  co_await scope.join();
  CHECK(order == "big small ");
  CHECK(semaphore.available() == 3);
}

CO_TEST_CASE("a cancelled wait gives its place to the next and loses no permit") {
  const auto executor = co_await asio::this_coro::executor;
  Semaphore semaphore(executor, 2);
  Scope cancelled(executor), others(executor);
  auto held = co_await semaphore.acquire(1);
  bool got = false;
  cancelled.spawn([&]() -> awaitable<void> { (void)co_await semaphore.acquire(2); });
  others.spawn([&]() -> awaitable<void> {
    (void)co_await semaphore.acquire(1);
    got = true;
  });
  co_await settle();
  CHECK_FALSE(got);
  cancelled.cancel();
  co_await cancelled.join();
  co_await others.join();
  CHECK(got);
  held.release();
  CHECK(semaphore.available() == 2);
}

CO_TEST_CASE("granted and cancelled in the same moment: the permit comes back") {
  const auto executor = co_await asio::this_coro::executor;
  Semaphore semaphore(executor, 1);
  Event never(executor);
  Scope scope(executor);
  SUBCASE("granted first") {
    auto held = co_await semaphore.acquire();
    scope.spawn([&]() -> awaitable<void> {
      const auto permit = co_await semaphore.acquire();
      co_await never.wait();
    });
    held.release();
    scope.cancel();
  }
  SUBCASE("cancelled first") {
    auto held = co_await semaphore.acquire();
    scope.spawn([&]() -> awaitable<void> { (void)co_await semaphore.acquire(); });
    scope.cancel();
    held.release();
  }
  co_await scope.join();
  CHECK(semaphore.available() == 1);
  CHECK(semaphore.waiting() == 0);
}

CO_TEST_CASE("more than there are is refused at once") {
  Semaphore semaphore(co_await asio::this_coro::executor, 2);
  std::error_code code;
  try {
    (void)co_await semaphore.acquire(3);
  } catch (const Error& error) {
    code = error.code();
  }
  CHECK(code == errc::limit_exceeded);
}

CO_TEST_CASE("a permit may outlive its semaphore") {
  Semaphore::Permit permit;
  {
    Semaphore semaphore(co_await asio::this_coro::executor, 1);
    permit = co_await semaphore.acquire();
    CHECK(permit.count() == 1);
  }
  permit.release();
  permit.release();
  CHECK(permit.count() == 0);
}
