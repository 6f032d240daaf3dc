#include "skep/p2p/arrivals.hpp"

#include <doctest/doctest.h>

using namespace std::chrono_literals;
using asio::ip::make_address;
using skep::SteadyTime;
using skep::p2p::Arrivals;

namespace {

constexpr SteadyTime begin{100h};
const auto bad = make_address("192.0.2.1");

Arrivals after_faults(int faults) {
  Arrivals arrivals({.faults = 4, .forgiven_per_second = 10, .longest_pause = 1s});
  for (int i = 0; i < faults; ++i) arrivals.fault(bad, begin);
  return arrivals;
}

}  // namespace

TEST_CASE("connections begin at once, from an address that makes trouble one after another") {
  auto arrivals = after_faults(4);
  for (int i = 0; i < 100; ++i) CHECK(arrivals.admit(bad, begin) == begin);
  arrivals.fault(bad, begin);
  CHECK(arrivals.admit(bad, begin) == begin);
  CHECK(arrivals.admit(bad, begin) == begin + 100ms);
  CHECK(arrivals.admit(bad, begin) == begin + 200ms);
  CHECK(arrivals.admit(bad, begin + 50ms) == begin + 300ms);
  CHECK(arrivals.admit(bad, begin + 1s) == begin + 1s);  // forgiven
  CHECK(arrivals.admit(make_address("192.0.2.2"), begin) == begin);
}

TEST_CASE("an honest peer behind such an address waits in its line, which is short") {
  auto arrivals = after_faults(100);
  int admitted = 0;
  for (; arrivals.admit(bad, begin); ++admitted) {
  }
  CHECK(admitted == 21);  // two seconds of them
  CHECK(arrivals.admit(bad, begin + 101ms) == begin + 2100ms);
  CHECK_FALSE(arrivals.admit(bad, begin + 101ms));
}

TEST_CASE("the addresses of one IPv6 network count as one") {
  Arrivals arrivals({.faults = 0, .forgiven_per_second = 10});
  arrivals.fault(make_address("2001:db8::1"), begin);
  CHECK(arrivals.admit(make_address("2001:db8::2"), begin) == begin);
  CHECK(arrivals.admit(make_address("2001:db8::3"), begin) == begin + 100ms);
  CHECK(arrivals.admit(make_address("2001:db8:0:1::3"), begin) == begin);
}
