// Scope: where coroutines live. Every coroutine that is not awaited belongs to a scope that cancels and joins it.
#pragma once

#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/co_spawn.hpp>
#include <asio/dispatch.hpp>
#include <concepts>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "skep/async/awaitable.hpp"
#include "skep/async/cancellation.hpp"
#include "skep/async/wait_list.hpp"
#include "skep/core/intrusive_list.hpp"
#include "skep/core/log.hpp"
#include "skep/core/new_shared.hpp"

namespace skep::inline v0 {

namespace detail {

/// The words of an exception, for a log line.
[[nodiscard]] inline std::string describe(const std::exception_ptr& thrown) {
  try {
    std::rethrow_exception(thrown);
  } catch (const std::exception& error) {
    return error.what();
  } catch (...) {
    return "an exception of unknown type";
  }
}

/// A coroutine that somebody else started: the signal that cancels it, and who is told of its end.
class Child {
 public:
  Child() = default;
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  virtual ~Child() = default;

  void cancel() { signal_.emit(asio::cancellation_type::terminal); }
  /// Runs a body up to its first suspension, when called on the executor; the child lives until `ended` has returned.
  static void start(const std::shared_ptr<Child>& child, const Executor& executor, awaitable<void> body) {
    asio::co_spawn(executor, std::move(body),
                   asio::bind_cancellation_slot(
                       child->signal_.slot(), [child](std::exception_ptr thrown) { child->ended(std::move(thrown)); }));
  }

 protected:
  /// The body has ended; on the executor.
  virtual void ended(std::exception_ptr thrown) = 0;

 private:
  asio::cancellation_signal signal_;
};

/// Children that run on one executor. Kept alive by every child.
class ChildGroup : public std::enable_shared_from_this<ChildGroup> {
 public:
  explicit ChildGroup(Executor executor) : executor_(std::move(executor)), idle_(executor_) {}

  /// Starts a child; it runs up to its first suspension before this returns when called on the executor.
  /// `done(std::exception_ptr)` runs on the executor after its end.
  template <class Done>
  void spawn(awaitable<void> body, Done done) {
    Child::start(std::make_shared<Telling<Done>>(shared_from_this(), std::move(done)), executor_, std::move(body));
  }

  /// Asks every child to stop. On the executor only.
  void cancel() {
    std::vector<std::shared_ptr<Member>> now;
    now.reserve(size_);
    for (auto* link = children_.next(); link != &children_; link = link->next()) {
      now.push_back(static_cast<Member&>(*link).shared_from_this());
    }
    for (const auto& child : now) child->cancel();
  }

  /// Completes when no child runs any more, not earlier: when the waiting coroutine is cancelled, before or meanwhile,
  /// the children are cancelled and awaited all the same.
  static awaitable<void> join(std::shared_ptr<ChildGroup> self) {
    const bool throws = co_await asio::this_coro::throw_if_cancelled();
    co_await asio::this_coro::throw_if_cancelled(false);
    if (is_cancelled(co_await asio::this_coro::cancellation_state)) self->cancel();
    while (self->size_ != 0) {
      const bool woken = co_await self->idle_.try_wait();
      if (!woken) self->cancel();
    }
    co_await asio::this_coro::throw_if_cancelled(throws);
  }

  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] const Executor& executor() const noexcept { return executor_; }

 private:
  // Leaves the list with its end, or unended with the executor that is destroyed under it.
  class Member : public Child, public ListLink, public std::enable_shared_from_this<Member> {
   public:
    explicit Member(std::shared_ptr<ChildGroup> group) : group_(std::move(group)) {
      insert_before(group_->children_);
      ++group_->size_;
    }
    ~Member() override { leave(); }

   protected:
    void leave() noexcept {
      if (is_alone()) return;
      unlink();
      --group_->size_;
    }
    [[nodiscard]] ChildGroup& group() const noexcept { return *group_; }

   private:
    std::shared_ptr<ChildGroup> group_;
  };

  template <class Done>
  class Telling final : public Member {
   public:
    Telling(std::shared_ptr<ChildGroup> group, Done done) : Member(std::move(group)), done_(std::move(done)) {}

   private:
    void ended(std::exception_ptr thrown) override {
      leave();
      done_(std::move(thrown));
      if (group().size_ == 0) group().idle_.wake_all();
    }

    Done done_;
  };

  Executor executor_;
  WaitList idle_;
  ListLink children_;
  std::size_t size_ = 0;
};

/// The coroutine that a function makes; the function lives as long.
template <std::invocable F>
std::invoke_result_t<F&> keep_alive(F function) {
  co_return co_await function();
}

}  // namespace detail

/// A function that makes a coroutine, such as a lambda with captures.
template <class F>
concept CoroutineFunction = std::invocable<F&> && std::same_as<std::invoke_result_t<F&>, awaitable<void>>;

/// Owns coroutines that nobody awaits.
///
/// *Lifetime:* the children share the scope's state: destroying a scope cancels its children and does not wait for
/// them; await `join` before destroying what they use. *Threads:* one executor; `cancel` may also come from elsewhere
/// and is posted there, and the destructor when no child runs any more. *Cancellation:* terminal; a child may need one
/// more await to notice. *Errors:* what a child throws is logged and the first kept in `failure`; the other children go
/// on. The end of a cancelled child is no failure.
class Scope {
 public:
  /// @param name  stands in the log line of a child that fails
  explicit Scope(Executor executor, std::string name = "scope")
      : state_(new_shared<State>(std::move(executor), std::move(name))) {}
  Scope(Scope&&) noexcept = default;
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;
  Scope& operator=(Scope&&) = delete;
  ~Scope() {
    if (state_ && state_->size() != 0) cancel();
  }

  /// Starts a child. On the executor it runs up to its first suspension before this returns. After `cancel` new
  /// children are dropped unstarted.
  void spawn(awaitable<void> child) {
    if (state_->cancelled) return;
    state_->spawn(std::move(child), [state = state_.get()](std::exception_ptr thrown) {
      if (!thrown || is_cancellation(thrown)) return;
      log(LogLevel::warning, state->name, detail::describe(thrown));
      if (!state->failure) state->failure = std::move(thrown);
    });
  }
  /// The same for a lambda: its captures live as long as the child. Pass the lambda, do not call it.
  template <class F>
    requires CoroutineFunction<std::decay_t<F>>
  void spawn(F&& function) {
    spawn(detail::keep_alive<std::decay_t<F>>(std::forward<F>(function)));
  }

  /// Asks every child to stop and lets no new one in. Idempotent, any thread.
  void cancel() {
    asio::dispatch(state_->executor(), [state = state_] {
      state->cancelled = true;
      state->cancel();
    });
  }

  /// Completes when all children have ended. When the awaiting coroutine is cancelled meanwhile, the children are
  /// cancelled and still awaited. In a coroutine that was cancelled before, say `co_await clear_cancellation()` first,
  /// as before every other await of a cleanup. Does not throw what a child threw.
  [[nodiscard]] awaitable<void> join() { return detail::ChildGroup::join(state_); }

  /// How many children run.
  [[nodiscard]] std::size_t size() const noexcept { return state_->size(); }
  /// What the first failed child threw, or null.
  [[nodiscard]] const std::exception_ptr& failure() const noexcept { return state_->failure; }
  [[nodiscard]] const Executor& executor() const noexcept { return state_->executor(); }

 private:
  struct State : detail::ChildGroup {
    State(Executor executor, std::string called) : ChildGroup(std::move(executor)), name(std::move(called)) {}

    std::string name;
    std::exception_ptr failure;
    bool cancelled = false;
  };

  std::shared_ptr<State> state_;
};

}  // namespace skep::inline v0
