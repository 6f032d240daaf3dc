#include "skep/async/bounded_queue.hpp"

#include <memory>
#include <string>
#include <vector>

#include "skep/async/scope.hpp"
#include "support/coroutine.hpp"
#include "support/manual_clock.hpp"

using namespace skep;
using skep::test::settle;

CO_TEST_CASE("items come out in the order in which they went in, never more than the capacity inside") {
  const auto executor = co_await asio::this_coro::executor;
  BoundedQueue<int> queue(executor, 3);
  Scope scope(executor);
  std::size_t most = 0;
  scope.spawn([&]() -> awaitable<void> {
    for (int i = 0; i < 100; ++i) {
      co_await queue.push(i);
      most = std::max(most, queue.size());
    }
    queue.close();
  });
  int expected = 0;
  for (;;) {
    const auto item = co_await queue.pop();
    if (!item) break;
    CHECK(*item == expected++);
  }
  co_await scope.join();
  CHECK(expected == 100);
  CHECK(most == 3);
}

CO_TEST_CASE("a full queue refuses try_push and leaves the item with its owner") {
  BoundedQueue<std::unique_ptr<int>> queue(co_await asio::this_coro::executor, 1);
  CHECK(queue.try_push(std::make_unique<int>(1)));
  auto second = std::make_unique<int>(2);
  CHECK_FALSE(queue.try_push(second));
  REQUIRE(second);
  const auto first = queue.try_pop();
  CHECK(**first == 1);
  CHECK_FALSE(queue.try_pop());
  CHECK(queue.try_push(second));
}

CO_TEST_CASE("waiting readers are served in the order of coming, and a newcomer does not overtake them") {
  const auto executor = co_await asio::this_coro::executor;
  BoundedQueue<int> queue(executor, 8);
  Scope scope(executor);
  std::string order;
  for (const char name : {'a', 'b'}) {
    scope.spawn([&, name]() -> awaitable<void> {
      const auto item = co_await queue.pop();
      order += name + std::to_string(*item) + " ";
    });
  }
  CHECK(queue.try_push(1));
  CHECK_FALSE(queue.try_pop());  // promised to a
  CHECK(queue.try_push(2));
  CHECK(queue.try_push(3));
  const auto mine = queue.try_pop();  // 1 and 2 are promised, so there is one to take: the first
  CHECK(mine.has_value());
  co_await scope.join();
  CHECK(order.size() == 6);
  CHECK(queue.size() == 0);
}

CO_TEST_CASE("waiting writers are served in the order of coming") {
  const auto executor = co_await asio::this_coro::executor;
  BoundedQueue<int> queue(executor, 1);
  Scope scope(executor);
  for (int i = 0; i < 4; ++i) scope.spawn(queue.push(i));
  std::vector<int> out;
  for (int i = 0; i < 4; ++i) out.push_back(*co_await queue.pop());
  CHECK(out == std::vector{0, 1, 2, 3});
  co_await scope.join();
}

CO_TEST_CASE("close wakes readers with nothing and writers with errc::closed; what is inside can be taken") {
  const auto executor = co_await asio::this_coro::executor;
  BoundedQueue<int> empty(executor, 1), full(executor, 1);
  Scope readers(executor), writers(executor);
  int nothing = 0;
  for (int i = 0; i < 2; ++i) {
    readers.spawn([&]() -> awaitable<void> {
      const auto item = co_await empty.pop();
      nothing += item ? 0 : 1;
    });
  }
  CHECK(full.try_push(7));
  writers.spawn(full.push(8));
  empty.close();
  full.close();
  co_await readers.join();
  co_await writers.join();
  CHECK(nothing == 2);
  REQUIRE(writers.failure());
  CHECK_THROWS_WITH(std::rethrow_exception(writers.failure()), "skep: the queue is closed");
  CHECK_FALSE(full.try_push(9));
  const auto left = co_await full.pop();
  CHECK(left == 7);
  const auto none = co_await full.pop();
  CHECK_FALSE(none);
}

CO_TEST_CASE("a cancelled pop takes nothing, a cancelled push adds nothing") {
  const auto executor = co_await asio::this_coro::executor;
  BoundedQueue<int> queue(executor, 1);
  Scope readers(executor), writers(executor);
  readers.spawn([&]() -> awaitable<void> { (void)co_await queue.pop(); });
  readers.cancel();
  CHECK(queue.try_push(1));
  co_await readers.join();
  CHECK(queue.size() == 1);
  writers.spawn(queue.push(2));
  writers.cancel();
  co_await writers.join();
  const auto item = co_await queue.pop();
  CHECK(item == 1);
  CHECK(queue.size() == 0);
}

CO_TEST_CASE("a queue destroyed under its waiters closes") {
  const auto executor = co_await asio::this_coro::executor;
  auto queue = std::make_unique<BoundedQueue<int>>(executor, 1);
  Scope scope(executor);
  bool ended = false;
  scope.spawn([&]() -> awaitable<void> {
    const auto item = co_await queue->pop();
    ended = !item;
  });
  queue.reset();
  co_await scope.join();
  CHECK(ended);
}
