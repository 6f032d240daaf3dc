#include "skep/async/offload.hpp"

#include <asio/thread_pool.hpp>
#include <future>
#include <memory>
#include <stdexcept>
#include <thread>

#include "skep/async/event.hpp"
#include "skep/async/scope.hpp"
#include "support/coroutine.hpp"

using namespace skep;

CO_TEST_CASE("the function runs on the other executor, the coroutine goes on where it was") {
  asio::thread_pool pool(1);
  const auto here = std::this_thread::get_id();
  auto owned = std::make_unique<int>(3);
  auto function = [&here, owned = std::move(owned)] {
    CHECK(std::this_thread::get_id() != here);
    return std::make_unique<int>(*owned + 1);
  };
  const auto result = co_await offload(pool.get_executor(), std::move(function));
  CHECK(*result == 4);
  CHECK(std::this_thread::get_id() == here);
  bool ran = false;
  co_await offload(pool.get_executor(), [&ran] { ran = true; });
  CHECK(ran);
}

CO_TEST_CASE("what the function throws arrives with its type") {
  asio::thread_pool pool(1);
  std::string text;
  try {
    co_await offload(pool.get_executor(), [] { throw std::out_of_range("too far"); });
  } catch (const std::out_of_range& error) {
    text = error.what();
  }
  CHECK(text == "too far");
}

CO_TEST_CASE("a cancelled caller gets the result all the same, and notices at its next await") {
  const auto executor = co_await asio::this_coro::executor;
  asio::thread_pool pool(1);
  std::promise<void> entered, go;
  Scope scope(executor);
  int result = 0;
  bool noticed = false;
  scope.spawn([&]() -> awaitable<void> {
    result = co_await offload(pool.get_executor(), [&] {
      entered.set_value();
      go.get_future().wait();
      return 5;
    });
    try {
      Event never(executor);
      co_await never.wait();
    } catch (const std::system_error&) {
      noticed = true;
    }
  });
  entered.get_future().wait();
  scope.cancel();
  go.set_value();
  co_await scope.join();
  CHECK(result == 5);
  CHECK(noticed);
}
