#include "skep/moe/task_pool.hpp"

#include <array>
#include <semaphore>
#include <stdexcept>

#include "skep/async/scope.hpp"
#include "skep/async/when_all.hpp"
#include "support/coroutine.hpp"

using skep::awaitable;
using skep::errc;
using skep::moe::TaskPool;
using namespace std::chrono_literals;

namespace {
struct Row {
  int value;
};
std::vector<double> score(const std::vector<Row>& rows) {
  std::vector<double> scores;
  for (const Row& row : rows) scores.push_back(row.value / 2.0);
  return scores;
}
using Ints = std::vector<int>;

// A function that is held at a gate, so that a test decides what gathers behind the batch being computed.
struct Gate {
  std::counting_semaphore<> entered{0}, open{0};
  std::vector<Ints> batches;
  Ints operator()(Ints batch) {
    entered.release();
    open.acquire();
    batches.push_back(batch);
    for (int& x : batch) {
      if (x < 0) throw std::invalid_argument("negative: " + std::to_string(x));
      x *= 10;
    }
    return batch;
  }
};

awaitable<void> keep(awaitable<Ints> task, std::vector<std::string>& log) {
  std::string line;
  try {
    for (const int x : co_await std::move(task)) line += std::to_string(x) + " ";
  } catch (const std::exception& e) {
    line = e.what();
  }
  log.push_back(line);
}
}  // namespace

CO_TEST_CASE("the example of the documentation") {
  TaskPool pool([](std::vector<Row> rows) { return score(rows); }, {.max_batch_size = 256});
  const Row row{7};
  std::vector<Row> rows{row};
  const auto mine = co_await pool.submit_task(std::move(rows));
  CHECK(mine == std::vector{3.5});
}

CO_TEST_CASE("C7.6 what gathers behind a running batch is computed together and split again") {
  Gate gate;
  TaskPool pool([&gate](Ints batch) { return gate(std::move(batch)); }, {.max_batch_size = 5, .name = "gated"});
  skep::Scope scope(co_await skep::this_executor);
  std::vector<std::string> log;
  scope.spawn(keep(pool.submit_task(Ints{1}), log));
  gate.entered.acquire();
  for (Ints batch : {Ints{2, 3}, Ints{4, 5}, Ints{6}, Ints{}, Ints{7, 8}}) {
    scope.spawn(keep(pool.submit_task(std::move(batch)), log));
  }
  gate.open.release(10);
  co_await scope.join();
  CHECK(gate.batches == std::vector<Ints>{{1}, {2, 3, 4, 5, 6}, {7, 8}});
  std::ranges::sort(log);
  CHECK(log == std::vector<std::string>{"", "10 ", "20 30 ", "40 50 ", "60 ", "70 80 "});
  const auto statistics = pool.statistics();
  CHECK(statistics.batches == 3);
  CHECK(statistics.tasks == 6);
  CHECK(statistics.samples == 8);
  CHECK(statistics.failed == 0);
}

CO_TEST_CASE("C5.4 a bad task fails alone, its neighbours in the batch do not") {
  Gate gate;
  gate.open.release(100);
  std::binary_semaphore start(0);
  TaskPool pool([&](Ints batch) {
    if (batch == Ints{0}) start.acquire();
    return gate(std::move(batch));
  });
  skep::Scope scope(co_await skep::this_executor);
  std::vector<std::string> log;
  scope.spawn(keep(pool.submit_task(Ints{0}), log));
  while (pool.statistics().queued > 0) std::this_thread::yield();
  for (Ints batch : {Ints{1}, Ints{-2}, Ints{3}}) scope.spawn(keep(pool.submit_task(std::move(batch)), log));
  start.release();
  co_await scope.join();
  std::ranges::sort(log);
  CHECK(log == std::vector<std::string>{"0 ", "10 ", "30 ", "negative: -2"});
  CHECK(pool.statistics().failed == 1);
  const auto later = co_await pool.submit_task(Ints{4});
  CHECK(later == Ints{40});
}

CO_TEST_CASE("C7.2 a task above the maximum is refused in Hivemind's words") {
  TaskPool pool([](Ints batch) { return batch; }, {.max_batch_size = 2});
  std::vector<std::string> log;
  co_await keep(pool.submit_task(Ints{1, 2, 3}), log);
  CHECK(log[0] == "skep: Task size greater than max_batch_size (2), it can't be processed");
  CHECK(pool.statistics().refused == 1);
}

CO_TEST_CASE("a full queue answers busy at once") {
  Gate gate;
  TaskPool pool([&gate](Ints batch) { return gate(std::move(batch)); }, {.max_queued = 2, .name = "ffn.0_forward"});
  skep::Scope scope(co_await skep::this_executor);
  std::vector<std::string> log;
  scope.spawn(keep(pool.submit_task(Ints{1}), log));
  gate.entered.acquire();
  for (int i = 2; i <= 3; ++i) scope.spawn(keep(pool.submit_task(Ints{i}), log));
  co_await keep(pool.submit_task(Ints{4}), log);
  CHECK(log == std::vector<std::string>{"skep: ffn.0_forward is busy: 2 tasks wait, try again later"});
  gate.open.release(10);
  co_await scope.join();
  CHECK(log.size() == 4);
}

CO_TEST_CASE("C7.5 a cancelled task is dropped before it is computed") {
  Gate gate;
  TaskPool pool([&gate](Ints batch) { return gate(std::move(batch)); });
  skep::Scope scope(co_await skep::this_executor);
  skep::Scope cancelled(co_await skep::this_executor);
  std::vector<std::string> log;
  scope.spawn(keep(pool.submit_task(Ints{1}), log));
  gate.entered.acquire();
  cancelled.spawn(keep(pool.submit_task(Ints{2}), log));
  scope.spawn(keep(pool.submit_task(Ints{3}), log));
  cancelled.cancel();
  co_await cancelled.join();
  gate.open.release(10);
  co_await scope.join();
  CHECK(gate.batches == std::vector<Ints>{{1}, {3}});
  CHECK(pool.statistics().dropped == 1);
}

CO_TEST_CASE("H-29 a lone task below the minimum is computed when the timeout is over") {
  TaskPool pool([](Ints batch) { return batch; }, {.min_batch_size = 100, .timeout = 20ms});
  const auto begin = std::chrono::steady_clock::now();
  const auto mine = co_await pool.submit_task(Ints{1});
  CHECK(mine == Ints{1});
  CHECK(std::chrono::steady_clock::now() - begin >= 20ms);
}

CO_TEST_CASE("closing fails what waits and what comes, and delivers what is being computed") {
  Gate gate;
  std::vector<std::string> log;
  skep::Scope scope(co_await skep::this_executor);
  {
    TaskPool pool([&gate](Ints batch) { return gate(std::move(batch)); }, {.name = "p"});
    scope.spawn(keep(pool.submit_task(Ints{1}), log));
    gate.entered.acquire();
    scope.spawn(keep(pool.submit_task(Ints{2}), log));
    pool.close();
    pool.close();
    co_await keep(pool.submit_task(Ints{3}), log);
    gate.open.release(10);
  }
  co_await scope.join();
  std::ranges::sort(log);
  CHECK(log == std::vector<std::string>{"10 ", "skep: p is closed", "skep: p is closed"});
}

CO_TEST_CASE("a function that gives too few results fails its tasks, not the pool") {
  TaskPool pool([](Ints batch) { return batch.size() == 2 ? Ints{} : batch; }, {.name = "p"});
  std::vector<std::string> log;
  co_await keep(pool.submit_task(Ints{1, 2}), log);
  co_await keep(pool.submit_task(Ints{1}), log);
  CHECK(log == std::vector<std::string>{"skep: the function of p gave 0 results for 2 samples", "1 "});
}

TEST_CASE("options that make no sense are refused") {
  const auto echo = [](Ints batch) { return batch; };
  CHECK_THROWS_AS(TaskPool(echo, {.max_batch_size = 2, .min_batch_size = 3}), skep::Error);
  CHECK_THROWS_AS(TaskPool(echo, {.max_batch_size = 0, .min_batch_size = 0}), skep::Error);
  CHECK_THROWS_AS(TaskPool(echo, {.max_queued = 0}), skep::Error);
}

TEST_CASE("pools that share a scheduler compute on its one thread; callers come from many") {
  std::array<asio::io_context, 3> contexts;  // outlive the pools
  const auto scheduler = std::make_shared<skep::moe::BatchScheduler>();
  std::thread::id thread_of_first, thread_of_second;
  TaskPool first(
      [&](Ints b) {
        thread_of_first = std::this_thread::get_id();
        return b;
      },
      {}, scheduler);
  TaskPool second(
      [&](Ints b) {
        thread_of_second = std::this_thread::get_id();
        return b;
      },
      {}, scheduler);
  {
    const skep::moe::detail::SchedulerThread thread(scheduler);
    std::vector<std::thread> callers;
    for (std::size_t c = 0; c < contexts.size(); ++c) {
      callers.emplace_back([&, c] {
        skep::test::run(
            [](auto& a, auto& b, int caller) -> awaitable<void> {
              for (int i = 0; i < 300; ++i) {
                const auto x = co_await a.submit_task(Ints{caller, i});
                const auto y = co_await b.submit_task(x);
                if (y != Ints{caller, i}) throw std::logic_error("a wrong result");
              }
            }(first, second, static_cast<int>(c)),
            contexts[c]);
      });
    }
    for (auto& caller : callers) caller.join();
  }
  CHECK(thread_of_first == thread_of_second);
  CHECK(thread_of_first != std::thread::id());
  CHECK(first.statistics().tasks == 900);
}
