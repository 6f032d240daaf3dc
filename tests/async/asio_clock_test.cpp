#include "skep/async/asio_clock.hpp"

#include "skep/async/scope.hpp"
#include "support/coroutine.hpp"

using namespace skep;

CO_TEST_CASE("a sleep ends at its time, not earlier") {
  AsioClock clock(co_await asio::this_coro::executor);
  const auto when = clock.steady_now() + 2ms;
  co_await clock.sleep_until(when);
  CHECK(clock.steady_now() >= when);
  co_await clock.sleep_until(when);  // a time that is over ends at once
}

CO_TEST_CASE("a sleep without end can be cancelled") {
  const auto executor = co_await asio::this_coro::executor;
  AsioClock clock(executor);
  Scope scope(executor);
  scope.spawn(clock.sleep_until(SteadyTime::max()));
  scope.cancel();
  co_await scope.join();
  CHECK_FALSE(scope.failure());
}
