// ManualClock: virtual time that a test moves by hand; models Clock.
#pragma once

#include <asio/post.hpp>
#include <cstdint>
#include <map>
#include <memory>
#include <utility>

#include "skep/async/event.hpp"

namespace skep::test {

/// Lets everything on the coroutine's executor run that is ready, and what that makes ready in turn.
inline awaitable<void> settle() {
  for (int turn = 0; turn < 100; ++turn) co_await asio::post(co_await asio::this_coro::executor, use_awaitable);
}

/// Sleepers wake in the order of their times, those of one time in the order in which they fell asleep.
class ManualClock {
 public:
  explicit ManualClock(Executor executor) : state_(std::make_shared<State>(std::move(executor))) {}

  [[nodiscard]] SteadyTime steady_now() const noexcept { return state_->now; }
  [[nodiscard]] WallTime wall_now() const noexcept {
    return {1.6e9 + std::chrono::duration<double>(state_->now.time_since_epoch()).count()};
  }
  [[nodiscard]] awaitable<void> sleep_until(SteadyTime when) { return sleep(state_, when); }
  [[nodiscard]] const Executor& executor() const noexcept { return state_->executor; }
  /// How many coroutines sleep.
  [[nodiscard]] std::size_t sleepers() const noexcept { return state_->sleepers.size(); }

  /// Moves time on, from one sleeper to the next; everything that is ready runs in between.
  [[nodiscard]] awaitable<void> advance(Duration by) { return advance(state_, state_->now + by); }

 private:
  struct State {
    explicit State(Executor on) : executor(std::move(on)) {}
    Executor executor;
    SteadyTime now{std::chrono::hours(1)};
    std::uint64_t sequence = 0;
    std::map<std::pair<SteadyTime, std::uint64_t>, Event*> sleepers;
  };

  static awaitable<void> sleep(std::shared_ptr<State> state, SteadyTime when) {
    if (when <= state->now) co_return;
    Event awake(state->executor);
    const std::pair key(when, state->sequence++);
    const struct Entry {
      Entry(State& s, const std::pair<SteadyTime, std::uint64_t>& k, Event& event) : state(s), key(k) {
        state.sleepers.emplace(k, &event);
      }
      ~Entry() { state.sleepers.erase(key); }
      State& state;
      std::pair<SteadyTime, std::uint64_t> key;
    } entry(*state, key, awake);
    co_await awake.wait();
  }

  static awaitable<void> advance(std::shared_ptr<State> state, SteadyTime until) {
    co_await settle();
    while (!state->sleepers.empty() && state->sleepers.begin()->first.first <= until) {
      const auto first = state->sleepers.begin();
      state->now = first->first.first;
      first->second->set();
      state->sleepers.erase(first);
      co_await settle();
    }
    state->now = until;
    co_await settle();
  }

  std::shared_ptr<State> state_;
};
static_assert(Clock<ManualClock>);

}  // namespace skep::test
