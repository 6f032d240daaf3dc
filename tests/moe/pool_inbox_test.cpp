#include "skep/moe/pool_inbox.hpp"

#include <memory>

#include <doctest/doctest.h>

using skep::errc;
using skep::SteadyTime;
using skep::moe::TaskOptions;
using skep::moe::detail::PoolInbox;
using namespace std::chrono_literals;

namespace {
struct Task {
  std::size_t size;
  SteadyTime submitted;
  TaskOptions options;
};
const SteadyTime now = SteadyTime{} + 1h;

struct Inbox {
  skep::moe::TaskPoolOptions options{.max_batch_size = 10, .max_queued = 2, .name = "p"};
  std::mutex mutex;
  PoolInbox<std::shared_ptr<Task>> inbox{options, mutex};
  bool decides = false;

  std::string push(std::size_t size, TaskOptions task = {}) {
    try {
      decides = inbox.push(std::make_shared<Task>(size, now, task), [](bool due) { return due; });
      return "";
    } catch (const skep::Error& error) {
      return error.what();
    }
  }
};
}  // namespace

TEST_CASE("who is refused learns why and what to do") {
  Inbox i;
  CHECK(i.push(161) == "skep: p: task size greater than max_task_size (160), it can't be processed; send it in parts");
  CHECK(i.push(1, {.deadline = now}) == "skep: p: the deadline of the task was over before it was computed");
  CHECK(i.push(10).empty());
  CHECK(i.push(10).empty());
  CHECK(i.push(1) == "skep: p is busy: 2 tasks wait, retry in 100 ms");
  i.inbox.done({.tasks = 1, .samples = 10, .submitted = now, .begin = now, .end = now + 30ms});
  CHECK(i.push(1) == "skep: p is busy: 2 tasks wait, retry in 60 ms");
  i.inbox.left({.queued = 1, .samples = 10});
  CHECK(i.push(11) == "skep: p is busy: 1 task waits, retry in 30 ms");
  CHECK(i.push(1).empty());
  i.inbox.close();
  CHECK(i.push(1) == "skep: p is closed");
  CHECK(i.inbox.statistics().refused == 4);
  CHECK(i.inbox.statistics().expired == 1);
  CHECK(i.inbox.statistics().queued == 2);
  std::vector<std::shared_ptr<Task>> tasks;
  i.inbox.collect(tasks);
  CHECK(tasks.size() == 3);
}

TEST_CASE("the measured time of a batch includes the turns of other pools before it") {
  Inbox i;
  const auto batch = [&](SteadyTime submitted, SteadyTime begin, SteadyTime end) {
    i.inbox.done({.tasks = 1, .samples = 10, .submitted = submitted, .begin = begin, .end = end});
  };
  batch(now, now, now + 10ms);
  batch(now + 5ms, now + 40ms, now + 50ms);  // others had the thread from 10 to 40
  for (int task = 0; task < 2; ++task) CHECK(i.push(10).empty());
  CHECK(i.push(1) == "skep: p is busy: 2 tasks wait, retry in 52 ms");
  CHECK(i.inbox.statistics().computed == 20ms);
}

TEST_CASE("the thread is told of the first task, of the one that fills a batch, and of deadlines") {
  Inbox i;
  i.options.min_batch_size = 5;
  i.options.max_queued = 6;
  const auto decides = [&](std::size_t size, TaskOptions task = {}) {
    CHECK(i.push(size, task).empty());
    return i.decides;
  };
  CHECK(decides(0));
  CHECK_FALSE(decides(1));
  CHECK_FALSE(decides(1));
  CHECK(decides(1, {.deadline = now + 1s}));
  CHECK_FALSE(decides(1));
  CHECK(decides(0));  // the queue is full
  i.inbox.left({.queued = 3, .samples = 2});
  CHECK_FALSE(decides(2));
  CHECK(decides(1));  // five samples
}
