#include "skep/p2p/standing.hpp"

#include <stdexcept>
#include <string>

#include <doctest/doctest.h>

using namespace std::chrono_literals;
using skep::Duration;
using skep::SteadyTime;
using skep::p2p::is_callers_fault;
using skep::p2p::Standing;
using skep::p2p::StandingOptions;
using skep::p2p::StandingTable;

namespace {

constexpr StandingOptions options{.faults = 4, .forgiven_per_second = 10, .longest_pause = 1s};
constexpr SteadyTime begin{100h};

/// Within what the arithmetic of doubles may lose.
bool is_about(Duration pause, Duration expected) { return pause > expected - 1us && pause < expected + 1us; }

}  // namespace

TEST_CASE("the pause grows with each fault beyond what is tolerated, up to the longest") {
  struct Row {
    int faults;
    Duration pause;
  };
  for (const Row row : {Row{0, 0s}, {4, 0s}, {5, 100ms}, {6, 200ms}, {13, 900ms}, {14, 1s}, {15, 1s}, {100'000, 1s}}) {
    CAPTURE(row.faults);
    Standing standing(options);
    for (int i = 0; i < row.faults; ++i) standing.fault(begin);
    CHECK(is_about(standing.pause(begin), row.pause));
    CHECK(is_about(standing.pause(begin + 50ms), row.pause < 50ms ? 0s : row.pause - 50ms));
    // however much it was: forgiven soon
    CHECK(standing.pause(begin + 1001ms) == 0s);
    CHECK(standing.clear(begin + 1500ms));
  }
}

TEST_CASE("who keeps to the pace is never made to wait, who does not is held to it") {
  Standing slow(options), fast(options);
  SteadyTime now = begin;
  for (int i = 0; i < 1000; ++i, now += 100ms) {
    slow.fault(now);
    CHECK(slow.pause(now) == 0s);
  }
  now = begin;
  int faults = 0;
  for (; now < begin + 100s; ++faults) {
    fast.fault(now);
    now += fast.pause(now) + 1ms;
  }
  CHECK(faults > 990);
  CHECK(faults < 1010);
}

TEST_CASE("a peer most of whose requests are good is never made to wait") {
  Standing mixed(options);
  for (int i = 0; i < 1000; ++i) {
    mixed.fault(begin);
    CHECK(mixed.pause(begin) == 0s);
    mixed.served();
  }
  CHECK(mixed.clear(begin));
  for (int i = 0; i < 1000; ++i) mixed.served();  // good deeds are not saved up
  for (int i = 0; i < 5; ++i) mixed.fault(begin);
  CHECK(mixed.pause(begin) > 0s);
}

TEST_CASE("what is the caller's fault, and what is not") {
  using skep::errc;
  for (const errc code :
       {errc::invalid_argument, errc::malformed, errc::truncated, errc::limit_exceeded, errc::refused}) {
    CHECK(is_callers_fault(skep::Error(code, "no")));
  }
  for (const errc code : {errc::busy, errc::closed, errc::timed_out, errc::cancelled, errc::not_found, errc::remote}) {
    CHECK_FALSE(is_callers_fault(skep::Error(code, "no")));
  }
  CHECK_FALSE(is_callers_fault(std::runtime_error("the handler's own")));
  CHECK_FALSE(is_callers_fault(std::make_error_code(std::errc::invalid_argument)));
}

TEST_CASE("a table knows whoever comes again, and forgets first whoever has nothing to be forgiven") {
  StandingTable table(options, 4);
  const auto name = [](int i) { return std::to_string(i); };
  const auto here = table.of(name(0), begin);
  table.of(name(1), begin)->fault(begin);
  for (int i = 2; i < 100; ++i) CHECK(table.of(name(i), begin)->clear(begin));
  CHECK(table.size() <= 4);
  CHECK_FALSE(table.of(name(1), begin)->clear(begin));
  CHECK(table.of(name(0), begin) == here);
  // the bound holds against a crowd of offenders
  for (int i = 100; i < 200; ++i) table.of(name(i), begin)->fault(begin);
  CHECK(table.size() <= 4);
  CHECK(table.of(name(0), begin) == here);
}
