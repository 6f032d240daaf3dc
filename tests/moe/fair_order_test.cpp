#include "skep/moe/fair_order.hpp"

#include <array>
#include <string>
#include <vector>

#include <doctest/doctest.h>

using skep::Duration;
using skep::SteadyTime;
using skep::moe::FairOrder;
using namespace std::chrono_literals;

namespace {
SteadyTime at(int ms) { return SteadyTime{} + std::chrono::milliseconds(ms); }

// Pools that always have tasks, of the given ranks, each batch of a given cost: whose batches run.
struct Pool {
  char name;
  SteadyTime rank;  // of every task: a flood of older ones
  Duration cost;
};
std::string run(FairOrder& order, const std::vector<Pool>& pools, std::vector<FairOrder::Account>& accounts,
                int batches) {
  std::string log;
  for (int i = 0; i < batches; ++i) {
    std::vector<FairOrder::Candidate> candidates;
    for (std::size_t p = 0; p < pools.size(); ++p) candidates.push_back({pools[p].rank, accounts[p].used});
    const std::size_t next = order.next(candidates);
    order.charge(accounts[next], pools[next].cost);
    log += pools[next].name;
  }
  return log;
}
std::string run(const std::vector<Pool>& pools, int batches) {
  FairOrder order(10ms);
  std::vector<FairOrder::Account> accounts(pools.size());
  return run(order, pools, accounts, batches);
}
}  // namespace

TEST_CASE("C6.1 among pools the one whose oldest task waited longest comes first") {
  FairOrder order(10ms);
  CHECK(order.next(std::array{FairOrder::Candidate{at(5)}, FairOrder::Candidate{at(3)}, FairOrder::Candidate{at(4)}}) ==
        1);
}

TEST_CASE("H-24: a flood of older forward tasks keeps backward waiting for the burst and one batch") {
  const std::string log = run({{'f', at(0), 4ms}, {'b', at(500), 4ms}}, 10);
  CHECK(log.starts_with("fffb"));
  CHECK(std::ranges::count(log, 'b') >= 3);
}

TEST_CASE("H-24: under load pools get equal time, not equal numbers of batches") {
  const std::string log = run({{'f', at(0), 5ms}, {'b', at(500), 15ms}}, 400);
  CHECK(std::ranges::count(log, 'f') == doctest::Approx(300).epsilon(0.02));
  const std::string three = run({{'x', at(0), 5ms}, {'y', at(0), 5ms}, {'z', at(0), 5ms}}, 300);
  for (const char name : {'x', 'y', 'z'}) CHECK(std::ranges::count(three, name) == doctest::Approx(100).epsilon(0.05));
}

TEST_CASE("a pool that was idle saves nothing up") {
  FairOrder order(10ms);
  std::vector<FairOrder::Account> accounts(2);
  run(order, {{'f', at(0), 5ms}}, accounts, 1000);
  order.enter(accounts[1]);
  CHECK(accounts[0].used - accounts[1].used <= 5ms);
}

TEST_CASE("a pool that had the thread for long is not made to wait for it after an idle time") {
  FairOrder order(10ms);
  std::vector<FairOrder::Account> accounts(2);
  run(order, {{'f', at(0), 5ms}}, accounts, 1000);
  order.idle();
  order.enter(accounts[1]);
  order.enter(accounts[0]);
  CHECK(run(order, {{'f', at(0), 5ms}, {'b', at(9), 5ms}}, accounts, 4) == "fffb");
}
