#include "skep/async/runner.hpp"

#include <sys/wait.h>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "skep/async/asio_clock.hpp"
#include "skep/async/event.hpp"
// doctest comes last
#include <doctest/doctest.h>

using namespace skep;

namespace {

awaitable<int> give(int value) {
  if (value < 0) throw std::out_of_range("negative");
  co_return value;
}

awaitable<void> wait_for_ever(std::shared_ptr<std::atomic<bool>> started) {
  Event never(co_await asio::this_coro::executor);
  *started = true;
  co_await never.wait();
}

template <class F>
std::error_code code_of(F&& call) {
  try {
    call();
  } catch (const std::system_error& error) {
    return error.code();
  }
  return {};
}

std::atomic<int> logged{0};
void count_lines(LogLevel, std::string_view, std::string_view) noexcept { ++logged; }

}  // namespace

TEST_CASE("block_on returns the value, or throws what was thrown") {
  Runner runner;
  CHECK(runner.block_on(give(3)) == 3);
  CHECK_THROWS_WITH_AS(runner.block_on(give(-1)), "negative", std::out_of_range);
  const auto mine = std::make_unique<int>(4);
  CHECK(runner.block_on([&mine]() -> awaitable<int> { co_return *mine; }) == 4);
  runner.block_on([]() -> awaitable<void> { co_return; });
}

TEST_CASE("spawn_future runs many at once") {
  Runner runner;
  std::vector<std::future<int>> futures;
  for (int i = 0; i < 100; ++i) futures.push_back(runner.spawn_future(give(i)));
  for (int i = 0; i < 100; ++i) CHECK(futures[static_cast<std::size_t>(i)].get() == i);
}

TEST_CASE("block_on from several threads") {
  Runner runner;
  std::vector<std::thread> threads;
  std::atomic<int> sum{0};
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int j = 0; j < 50; ++j) sum += runner.block_on(give(1));
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(sum == 200);
}

TEST_CASE("a blocking call from a thread that must not block throws at once") {
  Runner runner, other;
  const auto code = runner.block_on([&]() -> awaitable<std::error_code> {
    CHECK(on_io_thread());
    co_return code_of([&] { runner.block_on(give(1)); });
  });
  CHECK(code == errc::wrong_thread);
  const auto elsewhere =
      runner.block_on([&]() -> awaitable<std::error_code> { co_return code_of([&] { other.block_on(give(1)); }); });
  CHECK(elsewhere == errc::wrong_thread);
  CHECK_FALSE(on_io_thread());
  mark_no_blocking();
  CHECK(code_of([&] { runner.block_on(give(1)); }) == errc::wrong_thread);
  mark_no_blocking(false);
  CHECK(runner.block_on(give(1)) == 1);
}

TEST_CASE("stop cancels what runs; who waits for it gets errc::closed") {
  Runner runner;
  const auto started = std::make_shared<std::atomic<bool>>(false);
  auto future = runner.spawn_future(wait_for_ever(started));
  runner.block_on([]() -> awaitable<void> { co_return; });
  CHECK(*started);
  runner.stop();
  CHECK(code_of([&] { future.get(); }) == errc::closed);
}

TEST_CASE("after stop new coroutines end with errc::closed at once") {
  Runner runner;
  runner.stop();
  runner.stop();
  CHECK(code_of([&] { runner.block_on(give(1)); }) == errc::closed);
}

TEST_CASE("what does not end in the grace is dropped with a warning, and nobody hangs") {
  logged = 0;
  set_log_hook(count_lines);
  Runner runner;
  const auto owned = std::make_shared<int>(1);
  asio::steady_timer timer(runner.executor(), 1h);
  timer.async_wait([owned](std::error_code) {});
  auto future = runner.spawn_future([]() -> awaitable<void> {
    Event never(co_await asio::this_coro::executor);
    for (;;) {
      co_await clear_cancellation();
      try {
        co_await never.wait();
      } catch (const std::system_error&) {
      }
    }
  });
  runner.block_on([]() -> awaitable<void> { co_return; });
  runner.stop(10ms);
  set_log_hook(nullptr);
  CHECK(logged == 1);
  CHECK(owned.use_count() == 1);
  CHECK(code_of([&] { future.get(); }) == errc::closed);
}

TEST_CASE("an exception out of a handler is logged and the thread goes on") {
  logged = 0;
  set_log_hook(count_lines);
  Runner runner;
  asio::post(runner.executor(), [] { throw std::runtime_error("from a handler"); });
  CHECK(runner.block_on(give(1)) == 1);
  set_log_hook(nullptr);
  CHECK(logged == 1);
}

TEST_CASE("a runner destroyed on its own thread does not wait for itself") {
  auto runner = std::make_unique<Runner>();
  std::promise<void> posted, done;
  asio::post(runner->executor(), [&] {
    posted.get_future().wait();  // or the io_context would go while it is still being posted to
    runner->stop();              // and once more by the destructor
    runner.reset();
    done.set_value();
  });
  posted.set_value();
  done.get_future().wait();
}

TEST_CASE("in a forked child a blocking call throws instead of waiting for a thread that is not there") {
  Runner runner;
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    const bool thrown = code_of([&] { runner.block_on(give(1)); }) == errc::closed;
    ::_exit(thrown ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  CHECK(WEXITSTATUS(status) == 0);
  CHECK(runner.block_on(give(1)) == 1);
}
