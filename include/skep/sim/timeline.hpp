// Timeline: virtual time. Sleeping costs nothing: when nothing else can happen, the clock jumps to the next wake-up.
#pragma once

#include <asio/associated_cancellation_slot.hpp>
#include <asio/async_result.hpp>
#include <asio/cancellation_type.hpp>
#include <asio/co_spawn.hpp>
#include <asio/error.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <system_error>
#include <utility>

#include "skep/async/awaitable.hpp"
#include "skep/async/outcome.hpp"
#include "skep/core/error.hpp"
#include "skep/core/time.hpp"

namespace skep::inline v0::sim {

/// Runs coroutines in virtual time, one after another on the calling thread, the same way every time. It must outlive
/// every handle to what lives in it.
class Timeline {
 public:
  Timeline() = default;
  Timeline(const Timeline&) = delete;
  Timeline& operator=(const Timeline&) = delete;
  ~Timeline() {
    while (!sleepers_.empty()) {  // a frame that dies may end others' sleep
      const auto last = sleepers_.extract(sleepers_.begin());
    }
  }

  [[nodiscard]] Executor executor() noexcept { return io_.get_executor(); }
  [[nodiscard]] SteadyTime now() const noexcept { return now_; }
  /// Wall time starts at a fixed moment of 2023 and runs with the steady clock.
  [[nodiscard]] WallTime wall_now() const noexcept {
    return {1.7e9 + std::chrono::duration<double>(now_.time_since_epoch()).count()};
  }

  /// Calls back at a time; not any more once it is destroyed.
  class Alarm {
   public:
    Alarm(Timeline& time, SteadyTime when, std::function<void()> then)
        : time_(time), call_(std::make_shared<std::function<void()>>(std::move(then))), position_{when, 0} {
      if (when == SteadyTime::max()) return;
      position_.second = ++time.sequence_;
      time.sleepers_.emplace(position_, std::make_unique<Caller>(call_));
    }
    Alarm(const Alarm&) = delete;
    Alarm& operator=(const Alarm&) = delete;
    ~Alarm() { time_.sleepers_.erase(position_); }

   private:
    Timeline& time_;
    std::shared_ptr<std::function<void()>> call_;
    std::pair<SteadyTime, std::uint64_t> position_;
  };

  /// Completes when the clock has reached `when`; `SteadyTime::max()` never comes. Throws `operation_aborted` when
  /// cancelled.
  [[nodiscard]] awaitable<void> sleep_until(SteadyTime when) {
    return asio::async_initiate<const asio::use_awaitable_t<Executor>, void(std::error_code)>(
        [this](auto handler, SteadyTime time) { add(std::move(handler), time); }, use_awaitable, when);
  }

  /// Runs until `body` has ended and gives its value, or throws what it threw; errc::timed_out when nothing is left
  /// that could make it end. What else was going on stays as it is and goes on in the next `run`.
  template <class T>
  T run(awaitable<T> body) {
    Outcome<T> outcome;
    bool done = false;
    asio::co_spawn(io_, detail::run_into(std::move(body), outcome), [&done](std::exception_ptr) { done = true; });
    for (;;) {
      io_.restart();
      while (!done && io_.poll_one() > 0) {
      }
      if (done) return std::move(outcome).get();
      if (!jump(SteadyTime::max())) throw Error(errc::timed_out, "nothing is left to happen, and the coroutine waits");
    }
  }

  /// Lets `span` of virtual time pass.
  void run_for(Duration span) {
    const SteadyTime end = deadline_after(now_, span);
    do {
      io_.restart();
      io_.poll();
    } while (jump(end));
    now_ = end;
  }

 private:
  struct Sleeper {
    virtual ~Sleeper() = default;
    virtual void wake(std::error_code error) = 0;
  };
  template <class Handler>
  struct SleeperFor final : Sleeper {
    explicit SleeperFor(Handler h) : handler(std::move(h)) {}
    void wake(std::error_code error) override {
      asio::get_associated_cancellation_slot(handler).clear();
      std::move(handler)(error);
    }
    Handler handler;
  };
  struct Caller final : Sleeper {
    explicit Caller(std::weak_ptr<std::function<void()>> then) : call(std::move(then)) {}
    void wake(std::error_code) override {
      if (const auto living = call.lock()) (*living)();
    }
    std::weak_ptr<std::function<void()>> call;
  };
  using Position = std::pair<SteadyTime, std::uint64_t>;  // ties in the order of going to sleep

  template <class Handler>
  void add(Handler handler, SteadyTime when) {
    const Position position{when, ++sequence_};
    if (auto slot = asio::get_associated_cancellation_slot(handler); slot.is_connected()) {
      slot.assign([this, position](asio::cancellation_type) { cancel(position); });
    }
    sleepers_.emplace(position, std::make_unique<SleeperFor<Handler>>(std::move(handler)));
  }

  void cancel(const Position& position) {
    auto node = sleepers_.extract(position);
    if (!node.empty()) post(std::move(node.mapped()), asio::error::operation_aborted);
  }

  /// Moves the clock to the earliest sleeper and wakes it, unless that is after `end`.
  bool jump(SteadyTime end) {
    if (sleepers_.empty()) return false;
    const SteadyTime when = sleepers_.begin()->first.first;
    if (when == SteadyTime::max() || when > end) return false;
    if (when > now_) now_ = when;
    post(std::move(sleepers_.extract(sleepers_.begin()).mapped()), {});
    return true;
  }

  void post(std::unique_ptr<Sleeper> sleeper, std::error_code error) {
    asio::post(io_, [sleeper = std::move(sleeper), error] { sleeper->wake(error); });
  }

  std::map<Position, std::unique_ptr<Sleeper>> sleepers_;
  SteadyTime now_{};
  std::uint64_t sequence_ = 0;
  asio::io_context io_{1};
};

}  // namespace skep::inline v0::sim
