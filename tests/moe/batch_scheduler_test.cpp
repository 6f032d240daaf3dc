#include "skep/moe/batch_scheduler.hpp"

#include <functional>
#include <string>
#include <thread>

#include <doctest/doctest.h>

using skep::SteadyTime;
using skep::moe::BatchScheduler;
using namespace std::chrono_literals;

namespace {
// A pool of named tasks; each batch takes one and notes its name.
struct Pool final : skep::moe::ScheduledPool, std::enable_shared_from_this<Pool> {
  Pool(BatchScheduler& s, std::string& l) : scheduler(s), log(l) {}
  void add(char name, SteadyTime arrived, SteadyTime ready) {
    bool must_wake = false;
    {
      const std::lock_guard lock(scheduler.inbox_mutex());
      inbox.push_back({name, arrived, ready});
      must_wake = scheduler.submitted(shared_from_this());
    }
    if (must_wake) scheduler.wake();
  }
  void collect() noexcept override {
    tasks.insert(tasks.end(), inbox.begin(), inbox.end());
    inbox.clear();
  }
  std::optional<SteadyTime> ready_at(SteadyTime) override {
    if (tasks.empty()) return std::nullopt;
    return tasks.front().ready;
  }
  SteadyTime priority(SteadyTime) const override { return tasks.front().arrived; }
  void load_batch(SteadyTime) override {
    taken = tasks.front().name;
    tasks.erase(tasks.begin());
  }
  void process_batch() noexcept override {
    log.push_back(taken);
    if (during) during(taken);
    if (taken == 'z') scheduler.stop();
  }

  struct Task {
    char name;
    SteadyTime arrived, ready;
  };
  BatchScheduler& scheduler;
  std::string& log;
  std::vector<Task> inbox, tasks;
  std::function<void(char)> during;
  char taken = ' ';
};
SteadyTime ago(std::chrono::milliseconds t) { return std::chrono::steady_clock::now() - t; }
}  // namespace

TEST_CASE("C5.2, C6.1 among ready pools the one whose oldest task waited longest comes first") {
  BatchScheduler scheduler;
  std::string log;
  const auto forward = std::make_shared<Pool>(scheduler, log);
  const auto backward = std::make_shared<Pool>(scheduler, log);
  const auto t = ago(1s);
  for (int i = 0; i < 3; ++i) forward->add(static_cast<char>('a' + i), t + i * 10ms, t);
  for (int i = 0; i < 3; ++i) backward->add(static_cast<char>('A' + i), t + i * 10ms + 5ms, t);
  forward->add('z', t + 1s, t);
  scheduler.run();
  CHECK(log == "aAbBcCz");
}

TEST_CASE("C5.3, H-24: nothing is chosen ahead: what is more urgent and comes while a batch is computed is next") {
  BatchScheduler scheduler;
  std::string log;
  const auto normal = std::make_shared<Pool>(scheduler, log);
  const auto urgent = std::make_shared<Pool>(scheduler, log);
  const auto t = ago(1s);
  normal->during = [&](char name) {
    if (name == 'a') urgent->add('u', t - 1s, t);
  };
  for (const char name : {'a', 'b', 'c', 'z'}) normal->add(name, t, t);
  scheduler.run();
  CHECK(log == "aubcz");
}

TEST_CASE("a pool that is not ready is waited for, and others run meanwhile") {
  BatchScheduler scheduler;
  std::string log;
  const auto slow = std::make_shared<Pool>(scheduler, log);
  const auto quick = std::make_shared<Pool>(scheduler, log);
  const auto now = std::chrono::steady_clock::now();
  slow->add('z', now - 1h, now + 30ms);
  quick->add('q', now, now);
  scheduler.run();
  CHECK(log == "qz");
  CHECK(std::chrono::steady_clock::now() >= now + 30ms);
}

TEST_CASE("a sleeping thread is woken by a task and by stop") {
  BatchScheduler scheduler;
  std::string log;
  const auto pool = std::make_shared<Pool>(scheduler, log);
  std::thread thread([&] { scheduler.run(); });
  pool->add('a', ago(0s), ago(0s));
  pool->add('z', ago(0s), ago(0s));
  thread.join();
  CHECK(log == "az");
  CHECK(scheduler.wakeups() <= 2);

  BatchScheduler idle;
  std::thread sleeping([&] { idle.run(); });
  idle.stop();
  sleeping.join();
}

TEST_CASE("a removed pool is not run") {
  BatchScheduler scheduler;
  std::string log;
  const auto gone = std::make_shared<Pool>(scheduler, log);
  const auto stays = std::make_shared<Pool>(scheduler, log);
  gone->add('g', ago(1s), ago(1s));
  {
    const std::lock_guard lock(scheduler.mutex());
    scheduler.remove(gone.get());
  }
  stays->add('z', ago(0s), ago(0s));
  scheduler.run();
  CHECK(log == "z");
}

TEST_CASE("a thread that is woken takes what came meanwhile with it: no more wake-ups than batches") {
  BatchScheduler scheduler;
  std::string log;
  const auto pool = std::make_shared<Pool>(scheduler, log);
  std::thread thread([&] { scheduler.run(); });
  for (int i = 0; i < 200; ++i) pool->add('a', ago(0s), ago(0s));
  pool->add('z', ago(0s), ago(0s));
  thread.join();
  CHECK(log.size() == 201);
  CHECK(scheduler.wakeups() <= log.size());
}
