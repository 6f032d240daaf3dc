#include "skep/dht/answer_times.hpp"

#include <doctest/doctest.h>

using namespace skep;
using dht::AnswerTimes;

namespace {
p2p::PeerId peer(std::uint8_t n) { return *p2p::PeerId::from_bytes(Bytes{0, 1, n}); }
void add(AnswerTimes& times, const p2p::PeerId& of, int count, Duration answer) {
  for (int i = 0; i < count; ++i) times.add(of, answer);
}
}  // namespace

TEST_CASE("the estimator follows mean and deviation") {
  dht::AnswerTime time;
  time.add(80ms);
  CHECK(time.mean() == 80ms);
  CHECK(time.deviation() == 40ms);
  time.add(160ms);
  CHECK(time.mean() == 90ms);
  CHECK(time.deviation() == 50ms);
  CHECK(time.count() == 2);
}

TEST_CASE("before the first answer patience comes from the limit of a request") {
  const AnswerTimes times(3s);
  CHECK(times.hedge_after(peer(1)) == 1s);
  CHECK(times.late_after(peer(1)) == 1s);
  CHECK(times.lost_after(peer(1)) == 3s);
}

TEST_CASE("a stranger is judged by all, a peer that is known by itself") {
  AnswerTimes times(10s);
  add(times, peer(1), 100, 100ms);
  CHECK(times.hedge_after(peer(9)) >= 100ms);
  CHECK(times.hedge_after(peer(9)) <= 105ms);
  AnswerTimes spread(10s);
  for (int i = 0; i < 200; ++i) spread.add(peer(1), i % 2 == 0 ? 80ms : 120ms);
  CHECK(spread.hedge_after(peer(9)) > 130ms);
  CHECK(spread.hedge_after(peer(9)) < 150ms);
  CHECK(spread.late_after(peer(9)) > 165ms);
  CHECK(spread.late_after(peer(9)) < 190ms);
  add(times, peer(2), AnswerTimes::enough - 1, 20ms);
  const Duration by_all = times.hedge_after(peer(9));
  CHECK(times.hedge_after(peer(2)) == by_all);
  times.add(peer(2), 20ms);
  CHECK(times.hedge_after(peer(2)) < 30ms);
  CHECK(times.hedge_after(peer(1)) > 90ms);
}

TEST_CASE("a slow peer gets company as early as others, but time to answer") {
  AnswerTimes times(10s);
  add(times, peer(1), 20, 2s);
  add(times, peer(2), 200, 50ms);
  CHECK(times.hedge_after(peer(1)) == times.hedge_after(peer(9)));
  CHECK(times.hedge_after(peer(1)) < 100ms);
  CHECK(times.lost_after(peer(1)) > 2s);
  CHECK(times.lost_after(peer(2)) == AnswerTimes::least_patience);
}

TEST_CASE("the limits hold") {
  AnswerTimes times(2s);
  add(times, peer(1), 100, 10us);
  CHECK(times.hedge_after(peer(1)) == 10ms);
  CHECK(times.lost_after(peer(1)) == 1s);
  add(times, peer(1), 100, 5s);
  CHECK(times.hedge_after(peer(1)) == 2s);
  CHECK(times.lost_after(peer(1)) == 2s);
  const AnswerTimes hasty(400ms);
  CHECK(hasty.lost_after(peer(1)) == 400ms);
}

TEST_CASE("memory is bounded, and who answers often stays known") {
  AnswerTimes times(10s, 10ms, 10);
  add(times, peer(0), 100, 100ms);
  add(times, peer(1), AnswerTimes::enough, 20ms);
  for (std::uint8_t i = 2; i < 200; ++i) {
    times.add(peer(i), 100ms);
    if (i % 4 == 0) times.add(peer(1), 20ms);
  }
  CHECK(times.size() <= 10);
  CHECK(times.hedge_after(peer(1)) < 30ms);
}
