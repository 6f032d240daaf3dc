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

CO_TEST_CASE("C7.2 a task above the maximum is computed in chunks and joined") {
  std::vector<std::size_t> sizes;
  TaskPool pool(
      [&](Ints batch) {
        sizes.push_back(batch.size());
        for (int& x : batch) x *= 10;
        return batch;
      },
      {.max_batch_size = 2});
  const auto mine = co_await pool.submit_task(Ints{1, 2, 3, 4, 5});
  CHECK(mine == Ints{10, 20, 30, 40, 50});
  CHECK(sizes == std::vector<std::size_t>{2, 2, 1});
  const auto statistics = pool.statistics();
  CHECK(statistics.tasks == 1);
  CHECK(statistics.batches == 3);
  CHECK(statistics.samples == 5);
  CHECK(pool.empty());
}

CO_TEST_CASE("a task above the maximum is one batch where its effect must be one") {
  std::vector<std::size_t> sizes;
  TaskPool pool(
      [&](Ints batch) {
        sizes.push_back(batch.size());
        return batch;
      },
      {.max_batch_size = 2, .oversize = skep::moe::Oversize::whole});
  const auto mine = co_await pool.submit_task(Ints{1, 2, 3, 4, 5});
  CHECK(mine == Ints{1, 2, 3, 4, 5});
  CHECK(sizes == std::vector<std::size_t>{5});
}

CO_TEST_CASE("C7.2 a task that is too large for any queue is refused in one sentence") {
  TaskPool pool([](Ints batch) { return batch; }, {.max_batch_size = 1, .name = "p", .max_task_size = 2});
  std::vector<std::string> log;
  co_await keep(pool.submit_task(Ints{1, 2, 3}), log);
  CHECK(log[0] == "skep: p: task size greater than max_task_size (2), it can't be processed; send it in parts");
  CHECK(pool.statistics().refused == 1);
}

CO_TEST_CASE("a chunk that fails fails its task, whose other chunks are not computed, and nobody else") {
  Gate gate;
  gate.open.release(100);
  TaskPool pool([&gate](Ints batch) { return gate(std::move(batch)); }, {.max_batch_size = 2});
  skep::Scope scope(co_await skep::this_executor);
  std::vector<std::string> log;
  scope.spawn(keep(pool.submit_task(Ints{1, 2, -3, 4, 5, 6, 7}), log));
  scope.spawn(keep(pool.submit_task(Ints{8}), log));
  co_await scope.join();
  CHECK(log == std::vector<std::string>{"negative: -3", "80 "});
  CHECK(gate.batches.back() == Ints{8});
  const auto statistics = pool.statistics();
  CHECK(statistics.failed == 1);
  CHECK(statistics.tasks == 2);
  CHECK(statistics.queued == 0);
}

CO_TEST_CASE("a full queue answers busy at once, and when to come again") {
  Gate gate;
  TaskPool pool([&gate](Ints batch) { return gate(std::move(batch)); }, {.max_queued = 2, .name = "ffn.0_forward"});
  skep::Scope scope(co_await skep::this_executor);
  std::vector<std::string> log;
  scope.spawn(keep(pool.submit_task(Ints{1}), log));
  gate.entered.acquire();
  for (int i = 2; i <= 3; ++i) scope.spawn(keep(pool.submit_task(Ints{i}), log));
  std::error_code code;
  try {
    co_await pool.submit_task(Ints{4});
  } catch (const skep::Error& error) {
    code = error.code();
    log.emplace_back(error.what());
  }
  CHECK(code == errc::busy);
  CHECK(log == std::vector<std::string>{"skep: ffn.0_forward is busy: 2 tasks wait, retry in 100 ms"});
  gate.open.release(10);
  co_await scope.join();
  CHECK(log.size() == 4);
}

CO_TEST_CASE("a task whose deadline is over is not computed and fails with timed_out") {
  Gate gate;
  TaskPool pool([&gate](Ints batch) { return gate(std::move(batch)); }, {.name = "p"});
  skep::Scope scope(co_await skep::this_executor);
  std::vector<std::string> log;
  scope.spawn(keep(pool.submit_task(Ints{1}), log));
  gate.entered.acquire();
  const auto now = std::chrono::steady_clock::now();
  scope.spawn(keep(pool.submit_task(Ints{2}, {.deadline = now + 1ms}), log));
  scope.spawn(keep(pool.submit_task(Ints{3}, {.deadline = now + 1h}), log));
  const std::string expired = "skep: p: the deadline of the task was over before it was computed";
  co_await keep(pool.submit_task(Ints{4}, {.deadline = now}), log);  // at once
  CHECK(log == std::vector{expired});
  while (std::chrono::steady_clock::now() < now + 1ms) std::this_thread::yield();
  gate.open.release(10);
  co_await scope.join();
  std::ranges::sort(log);
  CHECK(log == std::vector<std::string>{"10 ", "30 ", expired, expired});
  CHECK(gate.batches == std::vector<Ints>{{1}, {3}});
  CHECK(pool.statistics().expired == 2);
}

CO_TEST_CASE("H-24: what is more urgent, or smaller where asked, is computed first") {
  Gate gate;
  TaskPool pool([&gate](Ints batch) { return gate(std::move(batch)); },
                {.max_batch_size = 4, .ageing = 1h, .small_first = 1s});
  skep::Scope scope(co_await skep::this_executor);
  std::vector<std::string> log;
  scope.spawn(keep(pool.submit_task(Ints{0}), log));
  gate.entered.acquire();
  scope.spawn(keep(pool.submit_task(Ints{1, 1, 1, 1}), log));
  scope.spawn(keep(pool.submit_task(Ints{2, 2, 2}), log));
  scope.spawn(keep(pool.submit_task(Ints{3}), log));
  scope.spawn(keep(pool.submit_task(Ints{4, 4, 4, 4}, {.priority = -1}), log));
  gate.open.release(10);
  co_await scope.join();
  CHECK(gate.batches == std::vector<Ints>{{0}, {4, 4, 4, 4}, {3, 2, 2, 2}, {1, 1, 1, 1}});
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

CO_TEST_CASE("C7.7 the result of a task that is given up while it is computed is dropped; its neighbours get theirs") {
  Gate gate;
  TaskPool pool([&gate](Ints batch) { return gate(std::move(batch)); });
  skep::Scope scope(co_await skep::this_executor);
  skep::Scope cancelled(co_await skep::this_executor);
  std::vector<std::string> log;
  scope.spawn(keep(pool.submit_task(Ints{1}), log));
  gate.entered.acquire();
  cancelled.spawn(keep(pool.submit_task(Ints{2}), log));
  scope.spawn(keep(pool.submit_task(Ints{3}), log));
  gate.open.release();
  gate.entered.acquire();
  cancelled.cancel();
  co_await cancelled.join();
  gate.open.release(10);
  co_await scope.join();
  CHECK(gate.batches == std::vector<Ints>{{1}, {2, 3}});
  CHECK(log.back() == "30 ");
  const auto later = co_await pool.submit_task(Ints{4});
  CHECK(later == Ints{40});
}

CO_TEST_CASE("C7.4, H-29: a lone task below the minimum is computed when the timeout is over") {
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

CO_TEST_CASE("C7.8 without a thread batches are pulled by hand") {
  TaskPool pool([](Ints batch) { return batch; }, {.max_batch_size = 3, .name = "p"},
                std::make_shared<skep::moe::BatchScheduler>());
  CHECK(decltype(pool)::get_task_size(Ints{1, 2}) == 2);
  CHECK(pool.empty());
  CHECK(pool.priority() == skep::SteadyTime::max());
  CHECK(pool.load_batch_to_runtime().empty());
  skep::Scope scope(co_await skep::this_executor);
  std::vector<std::string> log;
  const auto begin = std::chrono::steady_clock::now();
  for (const Ints& batch : {Ints{1, 2}, Ints{3}, Ints{4, 5}, Ints{6, 7}}) {
    scope.spawn(keep(pool.submit_task(batch), log));
  }
  CHECK_FALSE(pool.empty());
  CHECK(pool.priority() >= begin);
  CHECK(pool.priority() <= std::chrono::steady_clock::now());
  auto first = pool.load_batch_to_runtime();
  CHECK(first.sizes() == std::vector<std::size_t>{2, 1});
  CHECK(first.take_inputs() == Ints{1, 2, 3});
  pool.send_outputs_from_runtime(std::move(first), Ints{10, 20, 30});
  pool.send_exception_from_runtime(pool.load_batch_to_runtime(),
                                   std::make_exception_ptr(std::runtime_error("no device")));
  int rounds = 0;
  for (auto& batch : pool.iterate_minibatches()) {
    ++rounds;
    const auto samples = batch.samples();
    pool.send_outputs_from_runtime(std::move(batch), Ints(samples + 1));
  }
  co_await scope.join();
  CHECK(rounds == 1);
  CHECK(log ==
        std::vector<std::string>{"10 20 ", "30 ", "no device", "skep: the function of p gave 3 results for 2 samples"});
  CHECK(pool.empty());
  CHECK(pool.statistics().failed == 2);
}

TEST_CASE("one wake-up and one message a batch, however many tasks it has") {
  asio::io_context io;
  const auto scheduler = std::make_shared<skep::moe::BatchScheduler>();
  TaskPool pool([](Ints batch) { return batch; }, {}, scheduler);
  skep::Scope scope(io.get_executor());
  std::vector<std::string> log;
  for (int i = 0; i < 100; ++i) scope.spawn(keep(pool.submit_task(Ints{i}), log));
  while (pool.statistics().queued < 100) io.poll_one();
  {
    const skep::moe::detail::SchedulerThread thread(scheduler);
    while (pool.statistics().batches == 0) std::this_thread::yield();
  }
  CHECK(pool.statistics().batches == 1);
  CHECK(scheduler->wakeups() <= 1);
  io.restart();
  CHECK(io.poll_one() == 1);
  CHECK(log.size() == 100);
  io.poll();  // the ends of the coroutines
}

CO_TEST_CASE("tasks that wait for a batch to fill wake nobody but with the first and the last") {
  const auto scheduler = std::make_shared<skep::moe::BatchScheduler>();
  TaskPool pool([](Ints batch) { return batch; }, {.min_batch_size = 50, .timeout = 1h}, scheduler);
  const skep::moe::detail::SchedulerThread thread(scheduler);
  skep::Scope scope(co_await skep::this_executor);
  std::vector<std::string> log;
  for (int i = 0; i < 50; ++i) scope.spawn(keep(pool.submit_task(Ints{i}), log));
  co_await scope.join();
  CHECK(log.size() == 50);
  CHECK(pool.statistics().batches == 1);
  CHECK(scheduler->wakeups() <= 2);
}

TEST_CASE("what a caller's own code throws reaches its io_context and takes no other caller's result with it") {
  asio::io_context io;
  TaskPool pool([](Ints batch) { return batch; }, {}, std::make_shared<skep::moe::BatchScheduler>());
  std::vector<int> got;
  for (int i = 0; i < 3; ++i) {
    const auto one = [&, i]() -> awaitable<void> {
      const auto mine = co_await pool.submit_task(Ints{i});
      if (i == 0) throw std::logic_error("mine");
      got.push_back(mine[0]);
    };
    asio::co_spawn(io, one, [](const std::exception_ptr& thrown) {
      if (thrown) std::rethrow_exception(thrown);
    });
  }
  io.poll();
  auto batch = pool.load_batch_to_runtime();
  auto outputs = batch.take_inputs();
  pool.send_outputs_from_runtime(std::move(batch), std::move(outputs));
  io.restart();
  CHECK_THROWS_WITH(io.run(), "mine");
  io.run();
  CHECK(got == std::vector{1, 2});
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
