#include "skep/dht/drive.hpp"

#include <optional>
#include <vector>

#include <doctest/doctest.h>
#include "skep/async/scope.hpp"
#include "skep/async/semaphore.hpp"
#include "skep/dht/answer_times.hpp"
#include "skep/sim/network.hpp"

using namespace skep;
using dht::NodeEntry;
using dht::Traversal;

namespace {
struct State {
  explicit State(sim::World& world) : net(world), answer_times(3s), children(net.executor()) {}
  sim::Host net;
  dht::AnswerTimes answer_times;
  Scope children;
  std::optional<Semaphore> turns;
  bool closed = false;
};
std::shared_ptr<Event> news_of(const std::shared_ptr<State>& state) {
  return std::make_shared<Event>(state->net.executor());
}
NodeEntry node(std::uint8_t n) {
  Bytes id(20);
  id.front() = n;
  return {*dht::DHTID::from_bytes(id), *p2p::PeerId::from_bytes(Bytes{0, 1, n})};
}
/// Node n answers after n * 100 ms, nodes from 9 on never; even ones fail.
awaitable<std::optional<dht::NodeAnswer>> answer(std::shared_ptr<State> state, int n) {
  if (n >= 9) co_await state->net.sleep_until(SteadyTime::max());
  co_await state->net.sleep_until(state->net.steady_now() + n * 100ms);
  if (n % 2 == 0) co_return std::nullopt;
  state->answer_times.add(node(static_cast<std::uint8_t>(n)).contact, n * 100ms);
  dht::NodeAnswer answer;
  answer.message = {static_cast<std::uint8_t>(n)};
  co_return answer;
}
struct Run {
  std::vector<int> settled;
  Duration took{};
};
Run drive(sim::World& world, std::vector<NodeEntry> nodes, Duration limit, dht::TraversalOptions options,
          std::size_t turns = 0) {
  const auto state = std::make_shared<State>(world);
  if (turns > 0) state->turns.emplace(state->net.executor(), turns);
  Run run;
  const auto start = world.time().now();
  Traversal traversal({node(0).id}, {}, options);
  traversal.add(0, nodes);
  const auto ask = [&](const Traversal::Request& request) { return answer(state, request.node.contact.bytes()[2]); };
  const auto settle = [&](const Traversal::Request&, const dht::NodeAnswer& said) {
    run.settled.push_back(said.message.front());
  };
  world.run(dht::detail::drive(state, traversal, start + limit, ask, settle, news_of(state)));
  run.took = world.time().now() - start;
  state->children.cancel();
  world.run(state->children.join());
  return run;
}
}  // namespace

TEST_CASE("answers are settled as they come, failures are replaced") {
  sim::World world;
  const Run run = drive(world, {node(1), node(2), node(3), node(5)}, 60s, {.width = 2, .parallelism = 2});
  CHECK(run.settled == std::vector{1, 3});
  CHECK(run.took == 500ms);  // 1 and 2 together, then 3 in the stead of 2
}

TEST_CASE("A7.5 who is silent is not waited for once others suffice") {
  sim::World world;
  const Run run = drive(world, {node(9), node(0x21), node(1), node(3)}, 60s, {.width = 2, .parallelism = 1});
  CHECK(run.settled == std::vector{1, 3});
  CHECK(run.took < 3s);
}

TEST_CASE("the deadline ends what nobody answers") {
  sim::World world;
  const Run run = drive(world, {node(9), node(10)}, 2s, {.width = 2, .parallelism = 1});
  CHECK(run.settled.empty());
  CHECK(run.took == 2s);
  CHECK(drive(world, {}, 5s, {}).took == Duration(0));
}

TEST_CASE("a request is given up when its time is over, or clearly longer than its peer's answers take") {
  sim::World world;
  const Run strangers = drive(world, {node(9), node(10)}, 60s, {.width = 2, .parallelism = 1});
  CHECK(strangers.took == 4s);  // the second is asked when the first is late, after a third of the 3 s of a request
  const Run known = drive(world, {node(1), node(3), node(9)}, 60s, {.width = 3, .parallelism = 1});
  CHECK(known.settled == std::vector{1, 3});
  CHECK(known.took <= 1600ms);
}

TEST_CASE("A2 where few may be in flight, requests wait for their turn") {
  sim::World world;
  const Run run = drive(world, {node(1), node(3), node(5)}, 60s, {.width = 3, .parallelism = 3}, 1);
  CHECK(run.settled == std::vector{1, 3, 5});
  CHECK(run.took == 900ms);
}

TEST_CASE("a closed state ends the drive with an error") {
  sim::World world;
  const auto state = std::make_shared<State>(world);
  state->closed = true;
  Traversal traversal({node(0).id}, {});
  const auto ask = [&](const Traversal::Request&) { return answer(state, 1); };
  const auto settle = [](const Traversal::Request&, const dht::NodeAnswer&) {};
  CHECK_THROWS_AS(world.run(dht::detail::drive(state, traversal, SteadyTime::max(), ask, settle, news_of(state))),
                  Error);
}

TEST_CASE("A3.19 a key that somebody else finishes ends the drive at once") {
  sim::World world;
  const auto state = std::make_shared<State>(world);
  const auto news = news_of(state);
  Traversal traversal({node(0).id}, {});
  traversal.add(0, std::vector{node(9)});
  state->children.spawn([&]() -> awaitable<void> {
    co_await state->net.sleep_until(state->net.steady_now() + 70ms);
    traversal.finish(0);
    news->set();
  });
  const auto start = world.time().now();
  world.run(dht::detail::drive(
      state, traversal, SteadyTime::max(), [&](const Traversal::Request&) { return answer(state, 9); },
      [](const Traversal::Request&, const dht::NodeAnswer&) {}, news));
  CHECK(world.time().now() - start == 70ms);
  state->children.cancel();
  world.run(state->children.join());
}

TEST_CASE("flights land once, and are told of as they grow late") {
  const dht::AnswerTimes times(3s);
  const SteadyTime start{};
  const auto request = [](std::uint8_t n) { return Traversal::Request{node(n), {}}; };
  dht::detail::Flights flights;
  Traversal traversal({node(0).id}, {}, {});
  CHECK(flights.next(start + 1h) == start + 1h);
  const auto first = flights.launch(request(1));
  const auto second = flights.launch(request(2));
  CHECK(flights.next(start + 1h) == start + 1h);  // neither has left
  flights.left(first, times, start);
  flights.left(second, times, start + 1s);
  CHECK(flights.next(start + 1h) < start + 4s);
  CHECK(flights.land(first)->node.id == node(1).id);
  CHECK_FALSE(flights.land(first));
  CHECK(flights.land(second)->node.id == node(2).id);

  const auto lost = flights.launch(request(3));
  const auto waiting = flights.launch(request(4));
  flights.left(lost, times, start);
  flights.overdue(traversal, start + 1h);
  CHECK_FALSE(flights.land(lost));
  CHECK(flights.next(start + 1h) == start + 1h);
  CHECK(flights.land(waiting));
}
