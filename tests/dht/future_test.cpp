#include "skep/dht/future.hpp"

#include <atomic>
#include <memory>

#include <doctest/doctest.h>
#include "skep/async/asio_clock.hpp"
#include "skep/async/runner.hpp"

using namespace skep;
using dht::Future;
using dht::detail::StopSwitch;

namespace {
template <class F>
auto start(Runner& runner, F function) {
  const auto stop = std::make_shared<StopSwitch>(runner.executor());
  using T = typename std::invoke_result_t<F&>::value_type;
  return Future<T>(runner.spawn_future(StopSwitch::run(stop, skep::detail::keep_alive(function))), stop);
}
}  // namespace

TEST_CASE("A1.8 cancelling a future ends the coroutine, not only the waiting for it") {
  std::atomic<bool> ended{false};
  Runner runner;
  struct Watch {
    ~Watch() { ended = true; }
    std::atomic<bool>& ended;
  };
  auto future = start(runner, [&]() -> awaitable<int> {
    const Watch watch{ended};
    AsioClock clock(runner.executor());
    co_await clock.sleep_until(clock.steady_now() + 1h);
    co_return 1;
  });
  CHECK_FALSE(future.ready());
  CHECK_FALSE(future.wait_for(1ms));
  future.cancel();
  CHECK_THROWS_WITH_AS(future.get(), "skep: the call was cancelled", Error);
  CHECK(ended);
}

TEST_CASE("A1.11 a future gives its value once, also when it is cancelled too late; errors come through") {
  Runner runner;
  auto value = start(runner, []() -> awaitable<int> { co_return 7; });
  CHECK(value.wait_for(10s));
  value.cancel();
  CHECK(value.get() == 7);
  CHECK_FALSE(value.valid());
  auto failure = start(runner, []() -> awaitable<int> { throw std::runtime_error("mine"); });
  CHECK_THROWS_WITH(failure.get(), "mine");
  runner.block_on([&]() -> awaitable<void> {
    auto inside = start(runner, []() -> awaitable<int> { co_return 1; });
    CHECK_THROWS_AS(inside.get(), Error);
    co_return;
  });
}
