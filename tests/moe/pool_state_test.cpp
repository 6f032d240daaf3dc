#include "skep/moe/pool_state.hpp"

#include <chrono>
#include <memory>
#include <utility>
#include <vector>

#include "skep/async/scope.hpp"
#include "support/coroutine.hpp"

using skep::awaitable;
using Ints = std::vector<int>;

namespace {
struct Double {
  Ints operator()(Ints batch) const {
    for (int& x : batch) x *= 2;
    return batch;
  }
};
using State = skep::moe::detail::PoolState<Double, Ints>;

std::shared_ptr<State> make_pool() {
  return std::make_shared<State>(Double{}, skep::moe::TaskPoolOptions{}, std::make_shared<skep::moe::BatchScheduler>());
}
awaitable<void> keep(std::shared_ptr<State> pool, Ints batch, std::vector<Ints>& results) {
  results.push_back(co_await State::submit(pool, std::move(batch), {}));
}
}  // namespace

CO_TEST_CASE("a batch is taken out of the queue and run; each caller gets its part") {
  const auto pool = make_pool();
  CHECK_FALSE(pool->ready_at());
  skep::Scope scope(co_await skep::this_executor);
  std::vector<Ints> results;
  scope.spawn(keep(pool, Ints{1, 2}, results));
  scope.spawn(keep(pool, Ints{3}, results));
  const auto ready = pool->ready_at();
  REQUIRE(ready);
  CHECK(*ready == pool->oldest());
  pool->take(std::chrono::steady_clock::now());
  CHECK_FALSE(pool->ready_at());
  CHECK(results.empty());
  pool->run();
  co_await scope.join();
  CHECK(results == std::vector<Ints>{{2, 4}, {6}});
  CHECK(pool->statistics().batches == 1);
  CHECK(pool->statistics().waited > skep::Duration::zero());
}

CO_TEST_CASE("a task whose caller has gone decides nothing") {
  const auto pool = make_pool();
  std::vector<Ints> results;
  skep::Scope scope(co_await skep::this_executor);
  scope.spawn(keep(pool, Ints{1}, results));
  scope.cancel();
  co_await scope.join();
  CHECK_FALSE(pool->ready_at());
  CHECK(pool->statistics().dropped == 1);
  CHECK(results.empty());
}
