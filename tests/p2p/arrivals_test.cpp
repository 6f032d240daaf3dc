#include "skep/p2p/arrivals.hpp"

#include <doctest/doctest.h>

#include <optional>
#include <vector>

using namespace std::chrono_literals;
using asio::ip::make_address;
using skep::SteadyTime;
using skep::p2p::Arrivals;

namespace {

constexpr SteadyTime begin{100h};
const auto bad = make_address("192.0.2.1");

Arrivals after_faults(int faults) {
  Arrivals arrivals({.faults = 4, .forgiven_per_second = 10, .longest_pause = 1s}, 400);
  for (int i = 0; i < faults; ++i) arrivals.fault(bad, begin);
  return arrivals;
}

/// When a connection that comes to its end at once may begin.
std::optional<SteadyTime> turn(Arrivals& arrivals, const asio::ip::address& from, SteadyTime now) {
  const auto place = arrivals.admit(from, now);
  return place ? std::optional(place->begins()) : std::nullopt;
}

}  // namespace

TEST_CASE("no address keeps all handshakes for itself, and one that makes trouble an eighth") {
  auto arrivals = after_faults(0);
  const auto good = make_address("192.0.2.2");
  const auto fill = [&](const asio::ip::address& from) {
    std::vector<Arrivals::Place> places;
    for (;;) {
      auto place = arrivals.admit(from, begin);
      if (!place) return places;
      places.push_back(*std::move(place));
    }
  };
  {
    const auto silent = fill(good);
    CHECK(silent.size() == 300);
    CHECK(arrivals.admit(bad, begin));
  }
  CHECK(arrivals.admit(good, begin));
  for (int i = 0; i < 6; ++i) arrivals.fault(bad, begin);
  std::vector<Arrivals::Place> patient;  // whoever keeps to the pace and says nothing
  SteadyTime now = begin;
  for (; patient.size() < 100; now += 100ms) {
    arrivals.fault(bad, now);
    arrivals.fault(bad, now);
    auto place = arrivals.admit(bad, now);
    if (!place) break;
    patient.push_back(*std::move(place));
  }
  CHECK(patient.size() == 50);
}

TEST_CASE("connections begin at once, from an address that makes trouble one after another") {
  auto arrivals = after_faults(4);
  for (int i = 0; i < 100; ++i) CHECK(turn(arrivals, bad, begin) == begin);
  arrivals.fault(bad, begin);
  CHECK(turn(arrivals, bad, begin) == begin);
  CHECK(turn(arrivals, bad, begin) == begin + 100ms);
  CHECK(turn(arrivals, bad, begin) == begin + 200ms);
  CHECK(turn(arrivals, bad, begin + 50ms) == begin + 300ms);
  CHECK(turn(arrivals, bad, begin + 1s) == begin + 1s);  // forgiven
  CHECK(turn(arrivals, make_address("192.0.2.2"), begin) == begin);
}

TEST_CASE("an honest peer behind such an address waits in its line, which is short") {
  auto arrivals = after_faults(100);
  int admitted = 0;
  for (; turn(arrivals, bad, begin); ++admitted) {
  }
  CHECK(admitted == 21);  // two seconds of them
  CHECK(turn(arrivals, bad, begin + 101ms) == begin + 2100ms);
  CHECK_FALSE(turn(arrivals, bad, begin + 101ms));
}

TEST_CASE("the addresses of one IPv6 network count as one") {
  Arrivals arrivals({.faults = 0, .forgiven_per_second = 10}, 256);
  arrivals.fault(make_address("2001:db8::1"), begin);
  CHECK(turn(arrivals, make_address("2001:db8::2"), begin) == begin);
  CHECK(turn(arrivals, make_address("2001:db8::3"), begin) == begin + 100ms);
  CHECK(turn(arrivals, make_address("2001:db8:0:1::3"), begin) == begin);
}
