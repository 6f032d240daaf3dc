// Semaphore: a number of permits that coroutines share, first come first served.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "skep/async/awaitable.hpp"
#include "skep/async/event.hpp"
#include "skep/core/error.hpp"
#include "skep/core/intrusive_list.hpp"
#include "skep/core/new_shared.hpp"

namespace skep::inline v0 {

/// Limits what runs at once (calls, bytes in flight). Who asks for many permits waits until they are all free, and
/// nobody who came later overtakes.
///
/// *Lifetime:* permits share the state and may outlive the semaphore. *Threads:* one executor.
/// *Cancellation:* who is cancelled while waiting leaves the queue; no permit is lost.
class Semaphore {
  struct State;

 public:
  /// Gives its permits back when it is destroyed.
  class Permit {
   public:
    Permit() noexcept = default;
    Permit(Permit&& other) noexcept : state_(std::move(other.state_)), count_(std::exchange(other.count_, 0)) {}
    Permit& operator=(Permit&& other) noexcept {
      if (this != &other) {
        release();
        state_ = std::move(other.state_);
        count_ = std::exchange(other.count_, 0);
      }
      return *this;
    }
    ~Permit() { release(); }

    void release() noexcept {
      if (const auto state = std::exchange(state_, nullptr)) state->put_back(std::exchange(count_, 0));
    }
    [[nodiscard]] std::size_t count() const noexcept { return count_; }

   private:
    friend class Semaphore;
    Permit(std::shared_ptr<State> state, std::size_t count) noexcept : state_(std::move(state)), count_(count) {}

    std::shared_ptr<State> state_;
    std::size_t count_ = 0;
  };

  Semaphore(Executor executor, std::size_t permits) : state_(new_shared<State>(std::move(executor), permits)) {}

  /// Waits until `count` permits are free and takes them. Throws errc::limit_exceeded when there are never that many.
  [[nodiscard]] awaitable<Permit> acquire(std::size_t count = 1) { return acquire(state_, count); }

  /// Takes them now, or not: nullopt also when others wait.
  [[nodiscard]] std::optional<Permit> try_acquire(std::size_t count = 1) {
    if (!state_->take(count)) return std::nullopt;
    return Permit(state_, count);
  }

  [[nodiscard]] std::size_t available() const noexcept { return state_->free; }
  [[nodiscard]] std::size_t waiting() const noexcept { return state_->waiting; }

 private:
  class Waiter : public ListLink {  // part of the coroutine that waits
   public:
    Waiter(State& state, std::size_t permits) : count(permits), granted(state.executor), state_(state) {
      insert_before(state.queue);
      ++state.waiting;
    }
    ~Waiter() { leave(); }
    void leave() noexcept {
      if (is_alone()) return;
      unlink();
      --state_.waiting;
    }

    const std::size_t count;
    Event granted;

   private:
    State& state_;
  };

  struct State {
    State(Executor on, std::size_t permits) : executor(std::move(on)), total(permits), free(permits) {}

    [[nodiscard]] bool take(std::size_t count) noexcept {
      if (waiting != 0 || free < count) return false;
      free -= count;
      return true;
    }
    void put_back(std::size_t count) noexcept {
      free += count;
      grant();
    }
    void grant() noexcept {
      while (waiting != 0) {
        auto& first = static_cast<Waiter&>(*queue.next());
        if (first.count > free) return;
        free -= first.count;
        first.leave();
        first.granted.set();
      }
    }

    Executor executor;
    std::size_t total;
    std::size_t free;
    ListLink queue;
    std::size_t waiting = 0;  // in the queue
  };

  static awaitable<Permit> acquire(std::shared_ptr<State> state, std::size_t count) {
    if (count > state->total) {
      throw Error(errc::limit_exceeded,
                  std::to_string(count) + " permits were asked of a semaphore of " + std::to_string(state->total));
    }
    if (state->take(count)) co_return Permit(std::move(state), count);
    Waiter waiter(*state, count);
    std::exception_ptr thrown;
    try {
      co_await waiter.granted.wait();
    } catch (...) {
      thrown = std::current_exception();
    }
    Permit permit;
    if (waiter.granted.is_set())
      permit = Permit(state, count);  // goes back below when we were cancelled at that moment
    if (thrown) {
      waiter.leave();
      state->grant();
      std::rethrow_exception(thrown);
    }
    co_return permit;
  }

  std::shared_ptr<State> state_;
};

}  // namespace skep::inline v0
