#include "skep/async/awaitable.hpp"

#include <memory>
#include <string>

#include "support/coroutine.hpp"
#include "support/manual_clock.hpp"

using namespace skep;

namespace {
struct NoSleep {
  SteadyTime steady_now();
  Executor executor();
};
}  // namespace

static_assert(Clock<test::ManualClock>);
static_assert(!Clock<NoSleep> && !Clock<int>);

CO_TEST_CASE("an awaitable is lazy: it runs when it is awaited, on the executor of who awaits it") {
  const auto executor = co_await asio::this_coro::executor;
  std::string order;
  auto task = [&]() -> awaitable<std::unique_ptr<int>> {
    order += "ran ";
    CHECK(executor == co_await asio::this_coro::executor);
    co_return std::make_unique<int>(1);
  };
  auto started = task();
  order += "made ";
  const auto value = co_await std::move(started);
  CHECK(order == "made ran ");
  CHECK(*value == 1);
}

CO_TEST_CASE("a long chain of awaitables that are ready does not grow the stack") {
  auto leaf = [](int value) -> awaitable<int> { co_return value; };
  int sum = 0;
  for (int i = 0; i < 100'000; ++i) {
    const int value = co_await leaf(1);
    sum += value;
  }
  CHECK(sum == 100'000);
}
