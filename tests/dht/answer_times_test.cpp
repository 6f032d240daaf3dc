#include "skep/dht/answer_times.hpp"

#include <doctest/doctest.h>

using namespace skep;

TEST_CASE("an answer is late when it takes clearly longer than usual") {
  dht::AnswerTimes times(1s);
  CHECK(times.late_after() == Duration(1s) / 3);
  for (int i = 0; i < 100; ++i) times.add(100ms);
  CHECK(times.late_after() >= 100ms);
  CHECK(times.late_after() <= 110ms);
  for (int i = 0; i < 100; ++i) times.add(i % 2 ? 50ms : 150ms);
  CHECK(times.late_after() > 200ms);
}

TEST_CASE("the limits hold") {
  dht::AnswerTimes times(1s);
  for (int i = 0; i < 100; ++i) times.add(10us);
  CHECK(times.late_after() == 10ms);
  for (int i = 0; i < 100; ++i) times.add(5s);
  CHECK(times.late_after() == 1s);
}
