// DeadlineWheel: thousands of deadlines on one coarse timer, each set and cleared in constant time.
#pragma once

#include <asio/steady_timer.hpp>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include "skep/async/awaitable.hpp"
#include "skep/core/intrusive_list.hpp"
#include "skep/core/new_shared.hpp"
#include "skep/core/time.hpp"

namespace skep::inline v0 {

class DeadlineWheel;

/// A place in a wheel, a member or base of whatever has a deadline; it leaves the wheel when it is destroyed, and is no
/// longer set when the wheel is destroyed first.
class Deadline : private ListLink {
 public:
  Deadline() noexcept = default;
  inline virtual ~Deadline();

  [[nodiscard]] bool pending() const noexcept { return wheel_ != nullptr; }

 protected:
  /// What a driver does when the time has come; the deadline is out of the wheel by then.
  virtual void expired() noexcept {}

 private:
  friend class DeadlineWheel;
  friend class Deadlines;
  DeadlineWheel* wheel_ = nullptr;
  std::int64_t tick_ = 0;
};

/// A hashed timing wheel (Varghese and Lauck, 1987): `slots` lists of `tick` each; a deadline further away than one
/// turn stays in its list for as many turns. Pure: time is an argument. Allocates nothing after its construction.
class DeadlineWheel {
 public:
  /// @param tick   the precision: no deadline expires early, none more than one tick late
  /// @param slots  a power of two
  explicit DeadlineWheel(SteadyTime now, Duration tick = 5ms, std::size_t slots = 1024)
      : tick_(tick), slots_(slots), last_(now.time_since_epoch() / tick) {
    assert(tick > Duration::zero() && slots != 0 && (slots & (slots - 1)) == 0);
  }
  DeadlineWheel(const DeadlineWheel&) = delete;
  DeadlineWheel& operator=(const DeadlineWheel&) = delete;
  ~DeadlineWheel() {
    for (auto& head : slots_) {
      while (!head.is_alone()) cancel(static_cast<Deadline&>(*head.next()));
    }
  }

  /// Sets a deadline, or moves it. One that is over expires at the next `advance`; `SteadyTime::max()` never does.
  void insert(Deadline& deadline, SteadyTime when) noexcept {
    cancel(deadline);
    if (when == SteadyTime::max()) return;
    const auto since = when.time_since_epoch();
    deadline.tick_ = since / tick_ + (since % tick_ > Duration::zero() ? 1 : 0);
    if (deadline.tick_ <= last_) deadline.tick_ = last_ + 1;
    deadline.wheel_ = this;
    deadline.insert_before(slot(deadline.tick_));
    ++size_;
  }

  /// Clears a deadline; nothing happens when it is not set.
  void cancel(Deadline& deadline) noexcept {
    if (deadline.wheel_ != this) return;
    deadline.unlink();
    deadline.wheel_ = nullptr;
    --size_;
  }

  /// Takes out every deadline that is over and hands it to `expired(Deadline&)`, which may insert and cancel others.
  /// There is no order between deadlines that expire in one call. The cost is that of the slots passed since the last
  /// call, at most all of them once.
  template <class F>
  void advance(SteadyTime now, F&& expired) {
    const std::int64_t current = now.time_since_epoch() / tick_;
    if (current <= last_) return;
    const auto turn = static_cast<std::int64_t>(slots_.size());
    ListLink over;
    for (std::int64_t tick = current - last_ > turn ? current - turn + 1 : last_ + 1; tick <= current; ++tick) {
      auto& head = slot(tick);
      for (auto* link = head.next(); link != &head;) {
        auto& deadline = static_cast<Deadline&>(*link);
        link = link->next();
        if (deadline.tick_ > current) continue;
        deadline.unlink();
        deadline.insert_before(over);
      }
    }
    last_ = current;
    while (!over.is_alone()) {
      auto& deadline = static_cast<Deadline&>(*over.next());
      cancel(deadline);
      expired(deadline);
    }
  }

  /// When to call `advance` next: the first slot in use, which for a deadline further away than one turn is early.
  [[nodiscard]] std::optional<SteadyTime> next_wake() const noexcept {
    if (size_ == 0) return std::nullopt;
    std::int64_t tick = last_ + 1;
    while (slot(tick).is_alone()) ++tick;
    return SteadyTime(tick_ * tick);
  }

  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] Duration tick() const noexcept { return tick_; }

 private:
  [[nodiscard]] ListLink& slot(std::int64_t tick) noexcept {
    return slots_[static_cast<std::size_t>(tick) & (slots_.size() - 1)];
  }
  [[nodiscard]] const ListLink& slot(std::int64_t tick) const noexcept {
    return slots_[static_cast<std::size_t>(tick) & (slots_.size() - 1)];
  }

  Duration tick_;
  std::vector<ListLink> slots_;
  std::int64_t last_;
  std::size_t size_ = 0;
};

inline Deadline::~Deadline() {
  if (wheel_ != nullptr) wheel_->cancel(*this);
}

/// A wheel driven by one timer on an executor. Setting and clearing a deadline touches the timer only when the new one
/// is earlier than all others. Single executor. Destroying it stops the timer.
class Deadlines {
 public:
  explicit Deadlines(const Executor& executor, Duration tick = 5ms) : state_(new_shared<State>(executor, tick)) {}
  Deadlines(const Deadlines&) = delete;
  Deadlines& operator=(const Deadlines&) = delete;
  ~Deadlines() { close(); }

  /// Calls `deadline.expired()` on the executor when the time has come; clear it with `cancel` or by destroying it.
  void insert(Deadline& deadline, SteadyTime when) {
    state_->wheel.insert(deadline, when);
    if (when < state_->armed) arm(state_);
  }
  void cancel(Deadline& deadline) noexcept { state_->wheel.cancel(deadline); }

  /// Stops the timer, which otherwise keeps its io_context running; deadlines that are still set never expire.
  void close() noexcept {
    state_->closed = true;
    state_->timer.cancel();
  }

  [[nodiscard]] std::size_t size() const noexcept { return state_->wheel.size(); }

 private:
  struct State {
    State(const Executor& executor, Duration tick) : timer(executor), wheel(std::chrono::steady_clock::now(), tick) {}

    asio::steady_timer timer;
    DeadlineWheel wheel;
    SteadyTime armed = SteadyTime::max();
    bool closed = false;
  };

  static void arm(const std::shared_ptr<State>& state) {
    const auto next = state->wheel.next_wake();
    state->armed = next.value_or(SteadyTime::max());
    if (!next || state->closed) return;
    state->timer.expires_at(*next);
    state->timer.async_wait([state](std::error_code error) {
      if (error) return;  // armed anew, or closed
      state->armed = SteadyTime::max();
      state->wheel.advance(std::chrono::steady_clock::now(), [](Deadline& deadline) { deadline.expired(); });
      arm(state);
    });
  }

  std::shared_ptr<State> state_;
};

}  // namespace skep::inline v0
