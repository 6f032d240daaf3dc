#include "skep/moe/batch_queue.hpp"

#include <string>

#include <doctest/doctest.h>

using skep::SteadyTime;
using skep::moe::BatchQueue;
using namespace std::chrono_literals;

namespace {
using Items = std::vector<std::string>;
SteadyTime at(int ms) { return SteadyTime{} + std::chrono::milliseconds(ms); }
// The shape of an item is its first letter; a capital second letter means its caller has gone.
bool same(const std::string& a, const std::string& b) { return a[0] == b[0]; }
bool dropped(const std::string& item) { return item.size() > 1 && item[1] == 'X'; }
Items take(BatchQueue<std::string>& queue) { return queue.take(same, dropped); }
}  // namespace

TEST_CASE("C7.3 whole tasks are taken in order until the next would exceed the maximum") {
  BatchQueue<std::string> queue({.max_batch_size = 10});
  REQUIRE(queue.push("a1", 4, at(0)));
  REQUIRE(queue.push("a2", 4, at(1)));
  REQUIRE(queue.push("a3", 4, at(2)));
  REQUIRE(queue.push("a4", 1, at(3)));
  CHECK(queue.samples() == 13);
  CHECK(take(queue) == Items{"a1", "a2"});
  CHECK(queue.oldest() == at(2));
  CHECK(take(queue) == Items{"a3", "a4"});
  CHECK(take(queue).empty());
  CHECK(queue.samples() == 0);
}

TEST_CASE("C7.9 H-1 tasks of another shape never share a batch and keep their place") {
  BatchQueue<std::string> queue({});
  for (const char* item : {"a1", "b1", "a2", "c1", "b2", "a3"}) REQUIRE(queue.push(item, 1, at(0)));
  CHECK(take(queue) == Items{"a1", "a2", "a3"});
  CHECK(take(queue) == Items{"b1", "b2"});
  CHECK(take(queue) == Items{"c1"});
}

TEST_CASE("C7.5 cancelled tasks are skipped and count for nothing") {
  BatchQueue<std::string> queue({.min_batch_size = 2, .timeout = 10ms});
  for (const char* item : {"aX", "a1", "aX", "bX", "a2"}) REQUIRE(queue.push(item, 1, at(0)));
  CHECK(take(queue) == Items{"a1", "a2"});
  CHECK(queue.samples() == 0);
  REQUIRE(queue.push("aX", 5, at(1)));
  REQUIRE(queue.push("a3", 1, at(7)));
  queue.drop_front(dropped);
  CHECK(queue.oldest() == at(7));
  CHECK(queue.ready_at() == at(17));
}

TEST_CASE("C7.4 H-29 a batch below the minimum runs when its oldest task has waited for the timeout") {
  BatchQueue<std::string> queue({.min_batch_size = 3, .timeout = 100ms});
  CHECK_FALSE(queue.ready_at());
  REQUIRE(queue.push("a1", 1, at(5)));
  REQUIRE(queue.push("a2", 1, at(50)));
  CHECK(queue.ready_at() == at(105));
  REQUIRE(queue.push("a3", 1, at(60)));
  CHECK(queue.ready_at() == at(5));
}

TEST_CASE("with a minimum of one a task is ready when it comes") {
  BatchQueue<std::string> queue({});
  REQUIRE(queue.push("a1", 1, at(5)));
  CHECK(queue.ready_at() == at(5));
}

TEST_CASE("C7.2 a task above the maximum and one for a full queue are refused") {
  BatchQueue<std::string> queue({.max_batch_size = 10, .max_queued = 2});
  CHECK(queue.push("a1", 11, at(0)).error() == skep::errc::limit_exceeded);
  REQUIRE(queue.push("a1", 10, at(0)));
  REQUIRE(queue.push("a2", 10, at(0)));
  CHECK(queue.push("a3", 1, at(0)).error() == skep::errc::busy);
  CHECK(queue.size() == 2);
}

TEST_CASE("a full queue does not wait for a minimum it cannot reach") {
  BatchQueue<std::string> queue({.min_batch_size = 100, .timeout = 1h, .max_queued = 2});
  REQUIRE(queue.push("a1", 1, at(3)));
  REQUIRE(queue.push("a2", 1, at(4)));
  CHECK(queue.ready_at() == at(3));
}

TEST_CASE("everything can be taken at once") {
  BatchQueue<std::string> queue({});
  for (const char* item : {"a1", "b1", "aX"}) REQUIRE(queue.push(item, 1, at(0)));
  CHECK(queue.take_all() == Items{"a1", "b1", "aX"});
  CHECK(queue.size() == 0);
  CHECK(queue.samples() == 0);
}
