// The turn of a host: what one wake-up of the I/O thread causes is run and written together, in as few syscalls as
// possible. And the waiter, by which a coroutine sleeps until a stream wakes it in such a turn.
#pragma once

#include <asio/associated_cancellation_slot.hpp>
#include <asio/async_result.hpp>
#include <asio/execution/context.hpp>
#include <asio/execution_context.hpp>
#include <asio/post.hpp>
#include <asio/query.hpp>
#include <concepts>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "skep/async/awaitable.hpp"

namespace skep::inline v0::p2p {

/// Something to be run later in the turn.
class Runnable {
 public:
  virtual ~Runnable() = default;
  virtual void run() = 0;
};

/// Collects what is to be done after the bytes of a wake-up have been read: first whoever waits is woken, then every
/// connection that has something to say writes once. Outside a wake-up one post starts a turn. Single executor.
class Turn : public std::enable_shared_from_this<Turn> {
 public:
  explicit Turn(Executor executor) : executor_(std::move(executor)) {}

  /// Runs `what` in this turn, or starts one.
  void later(std::shared_ptr<Runnable> what) {
    ready_.push_back(std::move(what));
    schedule();
  }
  /// Lets a connection write at the end of this turn, or starts one.
  void write_later(std::shared_ptr<Runnable> connection) {
    writers_.push_back(std::move(connection));
    schedule();
  }

  /// Runs `body`, then all that it caused.
  template <std::invocable Body>
  void run(Body&& body) {
    if (active_) return body();  // the outer turn goes on with what this causes
    const Active active(*this);
    body();
    while (!ready_.empty() || !writers_.empty()) {
      while (!ready_.empty()) run_all(ready_);
      run_all(writers_);
    }
  }

 private:
  // While a turn runs nobody posts another one; when a woken coroutine's handler throws, the rest is left for the next.
  struct Active {
    explicit Active(Turn& of) : turn(of) { turn.active_ = true; }
    ~Active() {
      turn.active_ = false;
      if (!turn.ready_.empty() || !turn.writers_.empty()) turn.schedule();
    }
    Active(const Active&) = delete;
    Active& operator=(const Active&) = delete;
    Turn& turn;
  };

  void schedule() {
    if (active_ || std::exchange(posted_, true)) return;
    asio::post(executor_, Posted(shared_from_this()));
  }

  // A turn that is to come. Destroyed with its context before it came, it takes with it what waited for it.
  struct Posted {
    explicit Posted(std::shared_ptr<Turn> of) noexcept : turn(std::move(of)) {}
    Posted(Posted&&) noexcept = default;
    Posted& operator=(Posted&&) = delete;
    ~Posted() {
      if (!turn) return;
      const auto ready = std::move(turn->ready_);
      const auto writers = std::move(turn->writers_);
    }
    void operator()() {
      const auto now = std::move(turn);
      now->posted_ = false;
      now->run([] {});
    }
    std::shared_ptr<Turn> turn;
  };

  // Runs what is in the list now; what is added meanwhile is left in it.
  void run_all(std::vector<std::shared_ptr<Runnable>>& list) {
    running_.swap(list);
    struct Rest {  // whoever has not run yet when one throws comes first in the next turn
      ~Rest() {
        if (next < running.size()) {
          std::vector<std::shared_ptr<Runnable>> rest;
          for (; next < running.size(); ++next) rest.push_back(std::move(running[next]));
          for (auto& later : list) rest.push_back(std::move(later));
          list.swap(rest);
        }
        running.clear();
      }
      std::vector<std::shared_ptr<Runnable>>& running;
      std::vector<std::shared_ptr<Runnable>>& list;
      std::size_t next = 0;
    } rest{running_, list};
    while (rest.next < running_.size()) {
      const auto keep = std::move(running_[rest.next++]);
      keep->run();
    }
  }

  Executor executor_;
  std::vector<std::shared_ptr<Runnable>> ready_;
  std::vector<std::shared_ptr<Runnable>> writers_;
  std::vector<std::shared_ptr<Runnable>> running_;
  bool active_ = false;
  bool posted_ = false;
};

class Waiter;

namespace detail {

/// Knows every waiter of an execution context, so that those still asleep are destroyed with the context, as Asio's own
/// operations are.
class WaiterService final : public asio::execution_context::service {
 public:
  using key_type = WaiterService;
  static inline asio::execution_context::id id;

  explicit WaiterService(asio::execution_context& context) : service(context) {}

  Waiter* first = nullptr;

 private:
  inline void shutdown() override;
};

}  // namespace detail

/// A coroutine's place to sleep, a member of what it waits for. `wake()` is called by whoever has news; the coroutine
/// looks at the state again when it runs. One coroutine at a time.
///
/// *Threads:* one executor. *Cancellation:* calls the function given to `wait`, which must lead to `run()`; nothing is
/// thrown by the wait itself.
class Waiter final : public Runnable {
 public:
  explicit Waiter(const Executor& executor)
      : service_(asio::use_service<detail::WaiterService>(asio::query(executor, asio::execution::context))) {}
  Waiter(const Waiter&) = delete;
  Waiter& operator=(const Waiter&) = delete;
  ~Waiter() override { forget(); }

  [[nodiscard]] bool waiting() const noexcept { return handler_.has_value(); }

  /// Sleeps until `run()`. Await it at once; the waiter must outlive the sleep.
  template <std::invocable OnCancel>
  [[nodiscard]] auto wait(OnCancel on_cancel) {
    return asio::async_initiate<const asio::use_awaitable_t<asio::any_io_executor>&, void()>(
        [this](auto handler, OnCancel cancel) {
          auto slot = asio::get_associated_cancellation_slot(handler);
          handler_.emplace(std::move(handler));
          next_ = service_.first;
          if (next_ != nullptr) next_->previous_ = this;
          service_.first = this;
          if (slot.is_connected()) slot.assign([cancel](asio::cancellation_type) mutable { cancel(); });
        },
        use_awaitable, std::move(on_cancel));
  }

  /// Resumes the coroutine, if one sleeps here; it runs up to its next suspension before this returns.
  void run() override {
    if (auto handler = forget()) std::move (*handler)();
  }

 private:
  friend class detail::WaiterService;
  using Handler = asio::async_result<std::decay_t<asio::use_awaitable_t<asio::any_io_executor>>, void()>::handler_type;

  std::optional<Handler> forget() noexcept {
    if (!handler_) return std::nullopt;
    if (next_ != nullptr) next_->previous_ = previous_;
    (previous_ != nullptr ? previous_->next_ : service_.first) = next_;
    next_ = previous_ = nullptr;
    return std::exchange(handler_, std::nullopt);
  }

  detail::WaiterService& service_;
  std::optional<Handler> handler_;
  Waiter* previous_ = nullptr;
  Waiter* next_ = nullptr;
};

inline void detail::WaiterService::shutdown() {
  while (first != nullptr) {
    const auto destroyed = first->forget();
  }
}

}  // namespace skep::inline v0::p2p
