#include "skep/moe/batch_queue.hpp"

#include <string>

#include <doctest/doctest.h>

using skep::SteadyTime;
using skep::moe::BatchLimits;
using skep::moe::BatchQueue;
using namespace std::chrono_literals;

namespace {
using Items = std::vector<std::string>;
SteadyTime at(int ms) { return SteadyTime{} + std::chrono::milliseconds(ms); }

// The shape of an item is its first letter; a capital second letter means its caller has gone.
struct Queue {
  BatchQueue<std::string> queue;
  Items expired;

  explicit Queue(BatchLimits limits = {}) : queue(limits) {}
  void push(const std::string& item, skep::moe::QueuedTask task) {
    queue.push(item, task, [](const std::string& a, const std::string& b) { return a[0] == b[0]; });
  }
  void push(const std::string& item, std::size_t size, int ms) { push(item, {.size = size, .arrived = at(ms)}); }
  static bool dropped(const std::string& item) { return item.size() > 1 && item[1] == 'X'; }
  auto expire() {
    return [this](const std::string& item) { expired.push_back(item); };
  }
  Items take(int ms = 1000) {
    Items batch;
    queue.take(at(ms), batch, dropped, expire());
    return batch;
  }
  std::optional<SteadyTime> ready_at(int ms) {
    queue.prune(at(ms), dropped, expire());
    return queue.ready_at();
  }
};
}  // namespace

TEST_CASE("C7.3 whole tasks are taken in order until the next would exceed the maximum") {
  Queue q({.max_batch_size = 10});
  q.push("a1", 4, 0);
  q.push("a2", 4, 1);
  q.push("a3", 4, 2);
  q.push("a4", 1, 3);
  CHECK(q.take() == Items{"a1", "a2"});
  CHECK(q.queue.priority(at(5)) == at(2));
  CHECK(q.take() == Items{"a3", "a4"});
  CHECK(q.take().empty());
  CHECK(q.queue.empty());
}

TEST_CASE("a task above the maximum is a batch of its own") {
  Queue q({.max_batch_size = 10});
  q.push("a1", 25, 0);
  q.push("a2", 0, 1);
  q.push("a3", 10, 1);
  CHECK(q.take() == Items{"a1"});
  CHECK(q.take() == Items{"a2", "a3"});
}

TEST_CASE("C7.9, H-1: tasks of another shape never share a batch, and the group that waits longest is first") {
  Queue q;
  int ms = 0;
  for (const char* item : {"a1", "b1", "a2", "c1", "b2", "a3"}) q.push(item, 1, ms++);
  CHECK(q.take() == Items{"a1", "a2", "a3"});
  CHECK(q.take() == Items{"b1", "b2"});
  CHECK(q.take() == Items{"c1"});
}

TEST_CASE("C7.5, C6.1: cancelled tasks are skipped and decide nothing") {
  Queue q({.min_batch_size = 2, .timeout = 10ms});
  for (const char* item : {"aX", "a1", "aX", "bX", "a2"}) q.push(item, 1, 0);
  CHECK(q.take(0) == Items{"a1", "a2"});
  CHECK(q.ready_at(0) == std::nullopt);
  CHECK(q.queue.empty());
  q.push("aX", 5, 1);
  q.push("a3", 1, 7);
  CHECK(q.ready_at(7) == at(17));
  CHECK(q.queue.priority(at(17)) == at(7));
}

TEST_CASE("C7.4, H-29: a batch below the minimum runs when its oldest task has waited for the timeout") {
  Queue q({.min_batch_size = 3, .timeout = 100ms});
  CHECK(q.ready_at(0) == std::nullopt);
  q.push("a1", 1, 5);
  q.push("a2", 1, 50);
  CHECK(q.ready_at(50) == at(105));
  CHECK(q.take(104).empty());
  q.push("b1", 2, 60);  // of another shape: no company
  CHECK(q.ready_at(60) == at(105));
  CHECK(q.take(105) == Items{"a1", "a2"});
  CHECK(q.ready_at(105) == at(160));
  q.push("b2", 1, 106);
  CHECK(q.ready_at(106) == at(60));
}

TEST_CASE("H-29: a task that yields to more urgent ones is waited for no longer than the timeout either") {
  Queue q({.min_batch_size = 3, .timeout = 100ms});
  q.push("a1", {.size = 1, .arrived = at(0), .rank = at(1000)});
  q.push("a2", {.size = 1, .arrived = at(90), .rank = at(90)});
  CHECK(q.ready_at(90) == at(100));
  CHECK(q.take(100) == Items{"a2", "a1"});
}

TEST_CASE("with a minimum of one a task is ready when it comes, even one without samples") {
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}}) {
    Queue q;
    q.push("a1", size, 5);
    CHECK(q.ready_at(5) == at(5));
    CHECK(q.take(5) == Items{"a1"});
  }
}

TEST_CASE("a full queue does not wait for a minimum it cannot reach") {
  Queue q({.min_batch_size = 100, .timeout = 1h, .max_queued = 2});
  q.push("a1", 1, 3);
  q.push("a2", 1, 4);
  CHECK(q.ready_at(4) == at(3));
}

TEST_CASE("tasks go in the order of their ranks, equal ones in the order of their arrival") {
  Queue q({.max_batch_size = 2});
  const auto push = [&](const char* item, int rank) { q.push(item, {.size = 1, .arrived = at(0), .rank = at(rank)}); };
  push("a5", 5);
  push("a1", 1);
  push("a6", 5);
  push("a0", 0);
  CHECK(q.queue.priority(at(0)) == at(0));
  CHECK(q.take() == Items{"a0", "a1"});
  CHECK(q.take() == Items{"a5", "a6"});
}

TEST_CASE("a task whose deadline is over is not computed") {
  Queue q({.max_batch_size = 2});
  q.push("a1", {.size = 1, .arrived = at(0), .deadline = at(10)});
  q.push("a2", {.size = 1, .arrived = at(1), .deadline = at(11)});
  q.push("a3", 1, 2);
  CHECK(q.take(10) == Items{"a2", "a3"});
  CHECK(q.expired == Items{"a1"});
}

TEST_CASE("the deadline of a task that waits for company is looked at in time") {
  Queue q({.min_batch_size = 9, .timeout = 100ms});
  q.push("a1", 1, 0);
  q.push("a2", {.size = 1, .arrived = at(1), .deadline = at(20)});
  CHECK(q.ready_at(1) == at(20));
  CHECK(q.ready_at(20) == at(100));
  CHECK(q.take(20).empty());
  CHECK(q.expired == Items{"a2"});
}

TEST_CASE("everything can be taken at once") {
  Queue q;
  for (const char* item : {"a1", "b1", "aX"}) q.push(item, 1, 0);
  CHECK(q.queue.take_all() == Items{"a1", "aX", "b1"});
  CHECK(q.queue.empty());
}

TEST_CASE("a long queue keeps its order while it is filled and emptied") {
  Queue q({.max_batch_size = 7});
  int in = 0, out = 0;
  for (int round = 0; round < 200; ++round) {
    for (int i = 0; i < 8; ++i) q.push("a" + std::to_string(in++), 1, 0);
    for (const auto& item : q.take()) CHECK(item == "a" + std::to_string(out++));
  }
  while (!q.queue.empty()) {
    for (const auto& item : q.take()) CHECK(item == "a" + std::to_string(out++));
  }
  CHECK(in == out);
}
