#include "skep/dht/refresh_queue.hpp"

#include <vector>

#include <doctest/doctest.h>

using namespace skep;
using dht::key_id;
using dht::RefreshQueue;

TEST_CASE("A3.28 the earliest key is due first, and as many as one request takes") {
  RefreshQueue queue(10);
  CHECK_FALSE(queue.next());
  for (int i = 0; i < 5; ++i) queue.schedule(key_id(i), {10.0 + i});
  CHECK(queue.next() == WallTime{10});
  CHECK(queue.take({9}, 16).empty());
  CHECK(queue.take({13}, 2) == std::vector{key_id(0), key_id(1)});
  CHECK(queue.take({13}, 16) == std::vector{key_id(2), key_id(3)});
  CHECK(queue.next() == WallTime{14});
}

TEST_CASE("A3.29 a key has one entry, the last that was said, and stays due however late") {
  RefreshQueue queue(10);
  queue.schedule(key_id(1), {10});
  queue.schedule(key_id(1), {10});
  queue.schedule(key_id(1), {30});
  CHECK(queue.size() == 1);
  CHECK(queue.take({20}, 16).empty());
  CHECK(queue.take({1e9}, 16).size() == 1);
  CHECK(queue.size() == 0);
}

TEST_CASE("H-26: the queue is bounded, what is due last is left out") {
  RefreshQueue queue(2);
  for (int i = 0; i < 4; ++i) queue.schedule(key_id(i), {10.0 - i});
  CHECK(queue.size() == 2);
  CHECK(queue.take({100}, 16) == std::vector{key_id(3), key_id(2)});
}
