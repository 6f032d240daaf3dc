#include "skep/async/deadline_wheel.hpp"

#include <map>
#include <memory>
#include <vector>

#include "skep/async/asio_clock.hpp"
#include "skep/async/event.hpp"
#include "skep/core/random.hpp"
#include "support/coroutine.hpp"

using namespace skep;

namespace {
constexpr SteadyTime start{1h};

std::vector<Deadline*> advance(DeadlineWheel& wheel, SteadyTime now) {
  std::vector<Deadline*> out;
  wheel.advance(now, [&](Deadline& deadline) { out.push_back(&deadline); });
  return out;
}
}  // namespace

TEST_CASE("a deadline expires at its tick, not before, once") {
  DeadlineWheel wheel(start, 5ms, 8);
  Deadline deadline;
  wheel.insert(deadline, start + 12ms);
  CHECK(deadline.pending());
  CHECK(wheel.next_wake() == start + 15ms);
  CHECK(advance(wheel, start + 14ms).empty());
  CHECK(advance(wheel, start + 15ms) == std::vector{&deadline});
  CHECK_FALSE(deadline.pending());
  CHECK(wheel.size() == 0);
  CHECK_FALSE(wheel.next_wake());
  CHECK(advance(wheel, start + 1h).empty());
}

TEST_CASE("a deadline that is over expires at the next advance, one without end never") {
  DeadlineWheel wheel(start, 5ms, 8);
  Deadline past, never;
  wheel.insert(past, start - 1h);
  wheel.insert(never, SteadyTime::max());
  CHECK_FALSE(never.pending());
  CHECK(advance(wheel, start + 5ms) == std::vector{&past});
}

TEST_CASE("more than one turn away: next_wake is early, expiry is not") {
  DeadlineWheel wheel(start, 5ms, 8);  // one turn is 40 ms
  Deadline deadline;
  wheel.insert(deadline, start + 100ms);
  int wakes = 0;
  for (;;) {
    const auto wake = wheel.next_wake();
    REQUIRE(wake);
    ++wakes;
    if (!advance(wheel, *wake).empty()) {
      CHECK(*wake == start + 100ms);
      break;
    }
  }
  CHECK(wakes == 3);
}

TEST_CASE("a jump over many turns expires everything that is over") {
  DeadlineWheel wheel(start, 5ms, 8);
  std::vector<std::unique_ptr<Deadline>> deadlines;
  for (int i = 1; i <= 100; ++i) {
    deadlines.push_back(std::make_unique<Deadline>());
    wheel.insert(*deadlines.back(), start + std::chrono::milliseconds(i));
  }
  CHECK(advance(wheel, start + 50ms).size() == 50);
  CHECK(advance(wheel, start + 1h).size() == 50);
}

TEST_CASE("cancel, move, and destruction take a deadline out") {
  DeadlineWheel wheel(start, 5ms, 8);
  Deadline a, b;
  auto c = std::make_unique<Deadline>();
  wheel.insert(a, start + 5ms);
  wheel.insert(b, start + 5ms);
  wheel.insert(*c, start + 5ms);
  wheel.cancel(a);
  wheel.cancel(a);
  wheel.insert(b, start + 10ms);
  c.reset();
  CHECK(wheel.size() == 1);
  CHECK(advance(wheel, start + 5ms).empty());
  CHECK(advance(wheel, start + 10ms) == std::vector{&b});
}

TEST_CASE("a deadline may outlive its wheel") {
  Deadline one, other;
  {
    DeadlineWheel wheel(start, 5ms, 8);
    wheel.insert(one, start + 5ms);
    wheel.insert(other, start + 1h);
  }
  CHECK_FALSE(one.pending());
  CHECK_FALSE(other.pending());
}

TEST_CASE("an expiry may cancel one that expires with it, and insert anew") {
  DeadlineWheel wheel(start, 5ms, 8);
  Deadline a, b;
  wheel.insert(a, start + 5ms);
  wheel.insert(b, start + 5ms);
  std::vector<Deadline*> expired;
  wheel.advance(start + 5ms, [&](Deadline& deadline) {
    expired.push_back(&deadline);
    wheel.cancel(&deadline == &a ? b : a);
    wheel.insert(deadline, start + 20ms);
  });
  CHECK(expired == std::vector{&a});
  CHECK(advance(wheel, start + 20ms) == std::vector{&a});
}

TEST_CASE("against a plain ordered map, at random") {
  Random random(3);
  DeadlineWheel wheel(start, 5ms, 16);
  std::vector<std::unique_ptr<Deadline>> deadlines;
  for (int i = 0; i < 50; ++i) deadlines.push_back(std::make_unique<Deadline>());
  std::map<Deadline*, SteadyTime> model;
  auto now = start;
  for (int step = 0; step < 5000; ++step) {
    auto& deadline = *deadlines[random.below(deadlines.size())];
    if (random.below(3) == 0) {
      wheel.cancel(deadline);
      model.erase(&deadline);
    } else {
      const auto when = now + std::chrono::milliseconds(random.below(400));
      wheel.insert(deadline, when);
      model[&deadline] = when;
    }
    now += std::chrono::milliseconds(random.below(12));
    wheel.advance(now, [&](Deadline& over) {
      REQUIRE(model.contains(&over));
      CHECK(model[&over] <= now);
      model.erase(&over);
    });
    for (const auto& [left, when] : model) CHECK(when + 5ms > now);
    REQUIRE(wheel.size() == model.size());
  }
}

namespace {
struct Alarm : Deadline {
  explicit Alarm(Executor executor) : rung(std::move(executor)) {}
  void expired() noexcept override { rung.set(); }
  Event rung;
};
}  // namespace

CO_TEST_CASE("the driver rings in time, earlier ones first, and an inserted earlier one moves the timer") {
  const auto executor = co_await asio::this_coro::executor;
  AsioClock clock(executor);
  Deadlines deadlines(executor, 1ms);
  Alarm late(executor), early(executor);
  const auto now = clock.steady_now();
  deadlines.insert(late, now + 20ms);
  deadlines.insert(early, now + 2ms);
  co_await early.rung.wait();
  CHECK(clock.steady_now() >= now + 2ms);
  CHECK_FALSE(late.rung.is_set());
  co_await late.rung.wait();
  CHECK(clock.steady_now() >= now + 20ms);
  CHECK(deadlines.size() == 0);
}

TEST_CASE("a closed or destroyed driver does not keep its io_context running") {
  asio::io_context io;
  Deadline deadline;
  {
    Deadlines deadlines(io.get_executor());
    deadlines.insert(deadline, std::chrono::steady_clock::now() + 1h);
    deadlines.cancel(deadline);
  }
  CHECK(io.run() == 1);  // the handler of the stopped timer
}
