#include "skep/moe/pool_state.hpp"

#include <chrono>
#include <memory>
#include <utility>
#include <vector>

#include "skep/async/scope.hpp"
#include "support/coroutine.hpp"

using skep::awaitable;
using skep::moe::TaskOptions;
using skep::moe::TaskPoolOptions;
using Ints = std::vector<int>;
using namespace std::chrono_literals;

namespace {
struct Double {
  Ints operator()(Ints batch) const {
    for (int& x : batch) x *= 2;
    return batch;
  }
};
using State = skep::moe::detail::PoolState<Double, Ints>;

// Closed as the handle does it.
struct Pool {
  explicit Pool(TaskPoolOptions options = {})
      : state(std::make_shared<State>(Double{}, std::move(options), std::make_shared<skep::moe::BatchScheduler>())) {}
  ~Pool() { state->close(); }
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;
  State* operator->() const { return state.get(); }
  State& operator*() const { return *state; }

  std::shared_ptr<State> state;
};
awaitable<void> keep(std::shared_ptr<State> pool, Ints batch, std::vector<Ints>& results, TaskOptions options = {}) {
  results.push_back(co_await State::submit(pool, std::move(batch), options));
}
// What a scheduler does.
std::optional<skep::SteadyTime> look(State& pool, skep::SteadyTime now) {
  pool.collect();
  return pool.ready_at(now);
}
}  // namespace

CO_TEST_CASE("C5.5 a batch is taken out of the queue and run; each caller gets its part") {
  const Pool pool;
  const auto now = std::chrono::steady_clock::now();
  CHECK_FALSE(look(*pool, now));
  skep::Scope scope(co_await skep::this_executor);
  std::vector<Ints> results;
  scope.spawn(keep(pool.state, Ints{1, 2}, results));
  scope.spawn(keep(pool.state, Ints{3}, results));
  CHECK(pool->statistics().queued == 2);
  const auto later = now + 1h;
  const auto ready = look(*pool, later);
  REQUIRE(ready);
  CHECK(*ready == pool->priority(later));
  pool->load_batch(later);
  CHECK_FALSE(look(*pool, later));
  CHECK(pool->statistics().queued == 0);
  CHECK(results.empty());
  pool->process_batch();
  co_await scope.join();
  CHECK(results == std::vector<Ints>{{2, 4}, {6}});
  CHECK(pool->statistics().batches == 1);
  CHECK(pool->statistics().waited > 1h);
}

CO_TEST_CASE("a task whose caller has gone decides nothing") {
  const Pool pool;
  std::vector<Ints> results;
  skep::Scope scope(co_await skep::this_executor);
  scope.spawn(keep(pool.state, Ints{1}, results));
  scope.spawn(keep(pool.state, Ints{2, 3, 4, 5}, results));
  scope.cancel();
  co_await scope.join();
  CHECK_FALSE(look(*pool, std::chrono::steady_clock::now()));
  CHECK(pool->statistics().dropped == 2);
  CHECK(pool->statistics().queued == 0);
  CHECK(results.empty());
}

CO_TEST_CASE("the chunks of a task go with other tasks, and one that is given up counts once") {
  const Pool pool({.max_batch_size = 2, .max_queued = 5});
  const auto now = std::chrono::steady_clock::now() + 1h;
  std::vector<Ints> results;
  skep::Scope scope(co_await skep::this_executor);
  skep::Scope gone(co_await skep::this_executor);
  scope.spawn(keep(pool.state, Ints{1, 2, 3}, results));
  scope.spawn(keep(pool.state, Ints{4}, results));
  gone.spawn(keep(pool.state, Ints{5, 6, 7}, results));
  CHECK(pool->statistics().queued == 5);
  gone.cancel();
  co_await gone.join();
  for (int batch = 0; batch < 2; ++batch) {
    REQUIRE(look(*pool, now));
    pool->load_batch(now);
    pool->process_batch();
  }
  CHECK_FALSE(look(*pool, now));
  co_await scope.join();
  CHECK(results == std::vector<Ints>{{2, 4, 6}, {8}});
  const auto statistics = pool->statistics();
  CHECK(statistics.dropped == 1);
  CHECK(statistics.tasks == 2);
  CHECK(statistics.queued == 0);
}

CO_TEST_CASE("a task that expires while it waits is answered without a batch") {
  const Pool pool({.min_batch_size = 9, .timeout = 24h});
  const auto now = std::chrono::steady_clock::now();
  std::vector<Ints> results;
  skep::Scope scope(co_await skep::this_executor);
  scope.spawn(keep(pool.state, Ints{1}, results, {.deadline = now + 1h}));
  CHECK(look(*pool, now) == now + 1h);
  CHECK_FALSE(look(*pool, now + 1h));
  co_await scope.join();
  CHECK(scope.failure() != nullptr);
  CHECK(pool->statistics().expired == 1);
  CHECK(pool->statistics().batches == 0);
}
