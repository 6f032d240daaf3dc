#include "skep/p2p/quota.hpp"

#include "support/coroutine.hpp"

using namespace skep::p2p;

TEST_CASE("a share comes back when it is destroyed, and what is not there is not given") {
  const Quota quota(100);
  auto first = quota.take(60);
  CHECK(first);
  CHECK_FALSE(quota.take(41));
  {
    const auto second = quota.take(40);
    CHECK(second);
    CHECK(quota.left() == 0);
  }
  CHECK(quota.left() == 40);
  auto moved = std::move(first);
  CHECK(quota.left() == 40);
  moved = {};
  CHECK(quota.left() == 100);
}

CO_TEST_CASE("none() waits for the last task") {
  TaskCount tasks(co_await asio::this_coro::executor);
  co_await tasks.none();
  tasks.begin();
  tasks.begin();
  tasks.end();
  CHECK(tasks.count() == 1);
  asio::post(co_await asio::this_coro::executor, [&tasks] { tasks.end(); });
  co_await tasks.none();
  CHECK(tasks.count() == 0);
}
