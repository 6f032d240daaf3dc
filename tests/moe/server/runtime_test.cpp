#include "skep/moe/server/runtime.hpp"

#include <thread>

#include "skep/async/scope.hpp"
#include "skep/moe/server/tensor_batch.hpp"
#include "skep/moe/task_pool.hpp"
#include "support/coroutine.hpp"

using skep::moe::Runtime;
using skep::moe::TaskPool;
using Ints = std::vector<int>;

CO_TEST_CASE("C5.1 a runtime computes the batches of all its pools on one thread that must not block") {
  Runtime runtime({.threads = 1});
  bool marked = false;
  std::thread::id where;
  TaskPool first(
      [&](Ints batch) {
        marked = skep::on_io_thread();
        where = std::this_thread::get_id();
        return batch;
      },
      {}, runtime.scheduler());
  TaskPool second([&](Ints batch) { return Ints{batch[0] + (std::this_thread::get_id() == where ? 1 : 0)}; }, {},
                  runtime.scheduler());
  CHECK_FALSE(runtime.ready());
  runtime.start();
  runtime.start();
  CHECK(runtime.ready());
  const auto a = co_await first.submit_task(Ints{1});
  const auto b = co_await second.submit_task(Ints{1});
  CHECK(a == Ints{1});
  CHECK(b == Ints{2});
  CHECK(marked);
}

CO_TEST_CASE(
    "C7.9, H-1: requests of two trailing shapes at once are both computed, and so are later ones, large ones") {
  using skep::moe::TensorBatch;
  Runtime runtime({.threads = 1});
  TaskPool pool([](const TensorBatch& batch) { return TensorBatch{{batch.tensors[0] * 2}}; }, {.max_batch_size = 4},
                runtime.scheduler());
  skep::Scope scope(co_await skep::this_executor);
  std::vector<std::int64_t> widths;
  const auto ask = [&](std::int64_t rows, std::int64_t width) -> skep::awaitable<void> {
    const auto x = torch::rand({rows, width});
    TensorBatch batch{{x}};
    const auto y = co_await pool.submit_task(std::move(batch));
    CHECK(at::equal(y.tensors.at(0), x * 2));
    widths.push_back(width);
  };
  for (const std::int64_t width : {64, 65, 64}) scope.spawn(ask(1, width));
  runtime.start();  // all three wait by now
  co_await scope.join();
  co_await ask(11, 64);
  CHECK(widths == std::vector<std::int64_t>{64, 64, 65, 64});
  CHECK(pool.statistics().batches == 5);
}

TEST_CASE("C5.6 shutdown is clean in every order and can be repeated") {
  {
    const Runtime never_started;
  }
  {
    Runtime runtime;
    runtime.shutdown();
    runtime.start();  // too late: stays shut down
    CHECK_FALSE(runtime.ready());
  }
  Runtime runtime;
  runtime.start();
  {
    const TaskPool pool([](Ints batch) { return batch; }, {}, runtime.scheduler());
    runtime.shutdown();
    runtime.shutdown();
  }
  CHECK_FALSE(runtime.ready());
}
