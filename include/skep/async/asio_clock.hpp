// AsioClock: real time on an executor, for whoever has no Network at hand.
#pragma once

#include <asio/steady_timer.hpp>
#include <utility>

#include "skep/async/awaitable.hpp"
#include "skep/core/time.hpp"

namespace skep::inline v0 {

/// Completes at `when`, on the executor of the coroutine that awaits it; `SteadyTime::max()` never comes. A cancelled
/// sleep throws `operation_aborted`.
[[nodiscard]] inline awaitable<void> sleep_until(Executor executor, SteadyTime when) {
  asio::steady_timer timer(executor, when);
  co_await timer.async_wait(use_awaitable);
}

/// The steady clock of this machine; models `Clock`.
class AsioClock {
 public:
  explicit AsioClock(Executor executor) : executor_(std::move(executor)) {}

  [[nodiscard]] SteadyTime steady_now() const noexcept { return std::chrono::steady_clock::now(); }
  [[nodiscard]] WallTime wall_now() const noexcept { return system_wall_now(); }
  [[nodiscard]] awaitable<void> sleep_until(SteadyTime when) const { return skep::sleep_until(executor_, when); }
  [[nodiscard]] const Executor& executor() const noexcept { return executor_; }

 private:
  Executor executor_;
};
static_assert(Clock<AsioClock>);

}  // namespace skep::inline v0
