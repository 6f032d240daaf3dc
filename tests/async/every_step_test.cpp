// What a program made of all primitives does when it is cancelled, or its io_context destroyed, after every number of
// steps: it ends, and nothing leaks (the sanitizers watch).
#include <doctest/doctest.h>

#include <asio/io_context.hpp>
#include <memory>
#include <string>
#include <vector>

#include "skep/async/asio_clock.hpp"
#include "skep/async/bounded_queue.hpp"
#include "skep/async/event.hpp"
#include "skep/async/scope.hpp"
#include "skep/async/semaphore.hpp"
#include "skep/async/when_all.hpp"
#include "skep/async/with_timeout.hpp"

using namespace skep;

namespace {

class WheelClock : public AsioClock {
 public:
  explicit WheelClock(const Executor& executor) : AsioClock(executor), deadlines_(executor) {}
  Deadlines& deadlines() { return deadlines_; }

 private:
  Deadlines deadlines_;
};

struct Shared {
  explicit Shared(const Executor& executor)
      : clock(executor), plain(executor), queue(executor, 2), permits(executor, 2), finished(executor) {}
  WheelClock clock;
  AsioClock plain;
  BoundedQueue<std::unique_ptr<int>> queue;
  Semaphore permits;
  Event finished;
  int sum = 0;
  int done = 0;
};

awaitable<int> take(std::shared_ptr<Shared> shared) {
  const auto permit = co_await shared->permits.acquire();
  const auto item = co_await with_timeout(shared->clock, 10s, shared->queue.pop());
  co_return item ? **item : 0;
}

awaitable<void> produce(std::shared_ptr<Shared> shared, int count) {
  for (int i = 1; i <= count; ++i) co_await shared->queue.push(std::make_unique<int>(i));
}

awaitable<void> consume(std::shared_ptr<Shared> shared) {
  std::vector<awaitable<int>> all;
  for (int i = 0; i < 12; ++i) all.push_back(take(shared));
  for (const int value : co_await when_all(std::move(all))) shared->sum += value;
  shared->finished.set();
}

awaitable<void> program(std::shared_ptr<Shared> shared) {
  std::exception_ptr thrown;
  {
    Scope scope(co_await asio::this_coro::executor);
    scope.spawn(produce(shared, 12));
    scope.spawn(consume(shared));
    try {
      co_await with_timeout(shared->plain, 10s, shared->finished.wait());
      co_await scope.join();
    } catch (...) {
      thrown = std::current_exception();
    }
    co_await clear_cancellation();
    scope.cancel();
    co_await scope.join();
  }
  ++shared->done;
  if (thrown) std::rethrow_exception(thrown);
}

/// Runs `steps` handlers, or to the end; says whether it ended.
bool run(asio::io_context& io, int steps) {
  for (int i = 0; i < steps; ++i) {
    if (io.poll_one() == 0) return true;
  }
  return false;
}

}  // namespace

TEST_CASE("destroyed after any number of steps, nothing leaks") {
  for (int steps = 0;; ++steps) {
    REQUIRE(steps < 1000);
    asio::io_context io;
    const auto shared = std::make_shared<Shared>(io.get_executor());
    Scope scope(io.get_executor());
    scope.spawn(program(shared));
    if (!run(io, steps)) continue;
    CHECK(shared->sum == 78);
    CHECK(steps > 20);
    break;
  }
}

TEST_CASE("cancelled after any number of steps, it ends and gives everything back") {
  for (int steps = 0;; ++steps) {
    REQUIRE(steps < 1000);
    CAPTURE(steps);
    asio::io_context io;
    const auto shared = std::make_shared<Shared>(io.get_executor());
    Scope scope(io.get_executor());
    scope.spawn(program(shared));
    const bool over = run(io, steps);
    scope.cancel();
    while (io.poll_one() != 0) {
    }
    CHECK(scope.size() == 0);
    CHECK(shared->done == 1);
    CHECK_FALSE(scope.failure());
    CHECK(shared->permits.available() == 2);
    CHECK(shared->clock.deadlines().size() == 0);
    if (over) break;
  }
}
