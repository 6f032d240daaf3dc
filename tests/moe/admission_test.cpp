#include "skep/moe/admission.hpp"

#include <doctest/doctest.h>

using skep::Duration;
using skep::errc;
using skep::SteadyTime;
using namespace skep::moe;
using namespace std::chrono_literals;

TEST_CASE("a task is admitted by its size and by how many wait") {
  const TaskPoolOptions split{.max_batch_size = 10, .max_queued = 4};
  const TaskPoolOptions whole{.max_batch_size = 10, .max_queued = 4, .oversize = Oversize::whole, .max_task_size = 30};
  struct Row {
    const TaskPoolOptions& options;
    std::size_t size, queued;
    std::error_code refused;
  };
  for (const Row& row :
       {Row{split, 1, 0, {}}, Row{split, 10, 3, {}}, Row{split, 1, 4, errc::busy}, Row{split, 20, 2, {}},
        Row{split, 21, 2, errc::busy},  // its chunks count
        Row{split, 160, 0, {}},         // an empty pool is never busy
        Row{split, 161, 0, errc::limit_exceeded}, Row{split, 161, 4, errc::limit_exceeded}, Row{whole, 30, 3, {}},
        Row{whole, 30, 4, errc::busy}, Row{whole, 31, 0, errc::limit_exceeded}}) {
    CAPTURE(row.size);
    CAPTURE(row.queued);
    CHECK(admit(row.options, row.size, row.queued).error() == row.refused);
  }
  CHECK(chunk_count(split, 0) == 1);
  CHECK(chunk_count(split, 21) == 3);
  CHECK(chunk_count(whole, 21) == 1);
}

TEST_CASE("H-24: a task yields to more urgent and to smaller ones for a time that is bounded") {
  const TaskPoolOptions options{.ageing = 100ms, .small_first = 1ms};
  const SteadyTime t = SteadyTime{} + 1h;
  const auto rank_of = [&](int priority, std::size_t size, Duration later = {}) {
    return rank(options, {.priority = priority}, size, t + later);
  };
  CHECK(rank_of(0, 0) == t);
  CHECK(rank_of(-1, 0) == t - 100ms);
  CHECK(rank_of(0, 64) == t + 64ms);
  CHECK(rank_of(3, 1) < rank_of(0, 1, 301ms));  // what waits longer than its handicap is first
  CHECK(rank_of(3, 1) > rank_of(0, 1, 299ms));
  CHECK(rank({}, {}, 1'000'000, t) == t);  // in order, unless asked otherwise
  const int most = std::numeric_limits<int>::max();
  CHECK(rank({.ageing = 1000h}, {.priority = most}, 0, t) > t + 24h);
  CHECK(rank({.ageing = 1000h}, {.priority = -most}, 0, t) < t);
}

TEST_CASE("the time of a batch is estimated from those that were measured") {
  BatchCost cost;
  CHECK_FALSE(cost.known());
  cost.add(10, 5ms);
  CHECK(cost.estimate(10) == 5ms);
  CHECK(cost.estimate(1000) == 5ms);  // one size tells nothing about others
  for (int i = 0; i < 100; ++i) {
    for (const int n : {1, 8, 64}) cost.add(static_cast<std::size_t>(n), 2ms + n * 100us);
  }
  for (const int n : {1, 32, 64, 256}) {
    const auto off = cost.estimate(static_cast<std::size_t>(n)) - (2ms + n * 100us);
    CAPTURE(n);
    CHECK(std::chrono::abs(off) < 300us);
  }
}

TEST_CASE("who is refused is told when what waits will have been computed") {
  BatchCost cost;
  CHECK(retry_after(cost, 1000, 10, 100ms) == 100ms);  // nothing was measured
  for (int i = 0; i < 50; ++i) cost.add(10, 20ms);
  struct Row {
    std::size_t waiting;
    std::chrono::milliseconds retry;
  };
  for (const Row& row : {Row{0, 1ms}, Row{1, 20ms}, Row{10, 20ms}, Row{11, 40ms}, Row{1000, 2000ms}}) {
    CAPTURE(row.waiting);
    CHECK(retry_after(cost, row.waiting, 10, 100ms) == row.retry);
  }
  BatchCost quick;
  quick.add(10, 30us);
  CHECK(retry_after(quick, 20, 10, 100ms) == 1ms);
  BatchCost slow;
  slow.add(1, 10min);
  CHECK(retry_after(slow, 100, 1, 100ms) == 1h);
}
