#include "skep/moe/server/runtime.hpp"

#include <thread>

#include "skep/moe/task_pool.hpp"
#include "support/coroutine.hpp"

using skep::moe::Runtime;
using skep::moe::TaskPool;
using Ints = std::vector<int>;

CO_TEST_CASE("a runtime computes the batches of all its pools on one thread that must not block") {
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
