#include "skep/async/cancellation.hpp"

#include <stdexcept>

#include "skep/async/event.hpp"
#include "skep/async/scope.hpp"
#include "support/coroutine.hpp"
#include "support/manual_clock.hpp"

using namespace skep;

TEST_CASE("cancellations are told from failures") {
  CHECK(is_cancellation(asio::error::make_error_code(asio::error::operation_aborted)));
  CHECK(is_cancellation(make_error_code(errc::cancelled)));
  CHECK_FALSE(is_cancellation(make_error_code(errc::timed_out)));
  CHECK_FALSE(is_cancellation(std::error_code{}));
  CHECK(is_cancellation(std::make_exception_ptr(Error(errc::cancelled, "given up"))));
  CHECK_FALSE(is_cancellation(std::make_exception_ptr(std::runtime_error("broken"))));
  CHECK_FALSE(is_cancellation(std::make_exception_ptr(7)));
  CHECK_FALSE(is_cancellation(std::exception_ptr{}));
}

CO_TEST_CASE("after clear_cancellation a cleanup may await, and may be cancelled again") {
  const auto executor = co_await asio::this_coro::executor;
  Event never(executor), cleanup(executor);
  Scope scope(executor);
  int cancelled = 0;
  bool cleaned = false;
  scope.spawn([&]() -> awaitable<void> {
    try {
      co_await never.wait();
    } catch (const std::system_error&) {
      ++cancelled;
    }
    try {
      co_await cleanup.wait();
    } catch (const std::system_error&) {
      ++cancelled;  // every await throws until the cancellation is cleared
    }
    co_await clear_cancellation();
    co_await cleanup.wait();
    cleaned = true;
    co_await never.wait();
  });
  scope.cancel();
  CHECK(scope.size() == 1);
  cleanup.set();
  co_await test::settle();
  CHECK(cancelled == 2);
  CHECK(cleaned);
  CHECK(scope.size() == 1);
  scope.cancel();
  co_await scope.join();
  CHECK_FALSE(scope.failure());
}
