#include "skep/async/when_all.hpp"

#include <memory>
#include <stdexcept>
#include <vector>

#include "skep/async/event.hpp"
#include "support/coroutine.hpp"
#include "support/manual_clock.hpp"

using namespace skep;
using skep::test::ManualClock;
using skep::test::settle;

namespace {

awaitable<std::unique_ptr<int>> give_at(ManualClock& clock, Duration wait, int value) {
  co_await clock.sleep_until(clock.steady_now() + wait);
  if (value < 0) throw std::runtime_error("failed " + std::to_string(value));
  co_return std::make_unique<int>(value);
}

std::vector<awaitable<std::unique_ptr<int>>> operations(ManualClock& clock,
                                                        std::vector<std::pair<Duration, int>> list) {
  std::vector<awaitable<std::unique_ptr<int>>> out;
  for (const auto& [wait, value] : list) out.push_back(give_at(clock, wait, value));
  return out;
}

}  // namespace

CO_TEST_CASE("values stand in the order of the operations, which ran at once") {
  const auto executor = co_await asio::this_coro::executor;
  ManualClock clock(executor);
  Scope scope(executor);
  std::vector<int> values;
  scope.spawn([&]() -> awaitable<void> {
    auto all = operations(clock, {{3s, 1}, {1s, 2}, {2s, 3}});
    const auto found = co_await when_all(std::move(all));
    for (const auto& value : found) values.push_back(*value);
  });
  co_await settle();
  CHECK(clock.sleepers() == 3);
  co_await clock.advance(3s);
  co_await scope.join();
  CHECK(values == std::vector{1, 2, 3});
}

CO_TEST_CASE("the first failure cancels the others and is thrown") {
  const auto executor = co_await asio::this_coro::executor;
  ManualClock clock(executor);
  Scope scope(executor);
  std::string text;
  scope.spawn([&]() -> awaitable<void> {
    auto all = operations(clock, {{3s, 1}, {2s, -2}, {1s, -1}});
    try {
      (void)co_await when_all(std::move(all));
    } catch (const std::runtime_error& error) {
      text = error.what();
    }
  });
  co_await clock.advance(1s);
  co_await scope.join();
  CHECK(text == "failed -1");
  CHECK(clock.sleepers() == 0);
}

CO_TEST_CASE("settled: each operation with its own outcome") {
  const auto executor = co_await asio::this_coro::executor;
  ManualClock clock(executor);
  Scope scope(executor);
  std::vector<Outcome<std::unique_ptr<int>>> outcomes;
  scope.spawn([&]() -> awaitable<void> {
    auto all = operations(clock, {{3s, 1}, {2s, -2}, {1s, 3}});
    outcomes = co_await when_all_settled(std::move(all));
  });
  co_await clock.advance(3s);
  co_await scope.join();
  REQUIRE(outcomes.size() == 3);
  CHECK(**outcomes[0] == 1);
  CHECK_THROWS_WITH(std::move(outcomes[1]).get(), "failed -2");
  CHECK(**outcomes[2] == 3);
}

CO_TEST_CASE("nothing to wait for") {
  std::vector<awaitable<int>> none;
  const auto values = co_await when_all(std::move(none));
  CHECK(values.empty());
  std::vector<awaitable<void>> nothing;
  co_await when_all(std::move(nothing));
}

CO_TEST_CASE("cancelling the caller cancels all operations and waits for them") {
  const auto executor = co_await asio::this_coro::executor;
  ManualClock clock(executor);
  Scope scope(executor);
  std::exception_ptr thrown;
  std::size_t settled = 0;
  scope.spawn([&]() -> awaitable<void> {
    auto all = operations(clock, {{3s, 1}, {2s, 2}});
    try {
      (void)co_await when_all(std::move(all));
    } catch (...) {
      thrown = std::current_exception();
    }
  });
  scope.spawn([&]() -> awaitable<void> {
    auto all = operations(clock, {{3s, 1}, {2s, 2}});
    const auto outcomes = co_await when_all_settled(std::move(all));
    for (const auto& outcome : outcomes) settled += is_cancellation(outcome.error()) ? 1 : 0;
  });
  co_await settle();
  scope.cancel();
  co_await scope.join();
  CHECK(is_cancellation(thrown));
  CHECK(settled == 2);
  CHECK(clock.sleepers() == 0);
}

CO_TEST_CASE("operations that return nothing") {
  const auto executor = co_await asio::this_coro::executor;
  ManualClock clock(executor);
  Scope scope(executor);
  bool done = false;
  scope.spawn([&]() -> awaitable<void> {
    std::vector<awaitable<void>> sleeps;
    for (int i = 1; i <= 3; ++i) sleeps.push_back(clock.sleep_until(clock.steady_now() + std::chrono::seconds(i)));
    co_await when_all(std::move(sleeps));
    done = true;
  });
  co_await clock.advance(2s);
  CHECK_FALSE(done);
  co_await clock.advance(1s);
  co_await scope.join();
  CHECK(done);
}
