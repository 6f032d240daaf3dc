// WaitList: the queue of suspended coroutines on which events, semaphores, queues and scopes stand.
#pragma once

#include <asio/associated_cancellation_slot.hpp>
#include <asio/associated_executor.hpp>
#include <asio/async_result.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/execution/context.hpp>
#include <asio/execution_context.hpp>
#include <asio/post.hpp>
#include <asio/query.hpp>
#include <asio/recycling_allocator.hpp>
#include <memory>
#include <mutex>
#include <utility>

#include "skep/async/awaitable.hpp"
#include "skep/async/cancellation.hpp"
#include "skep/core/intrusive_list.hpp"

namespace skep::inline v0::detail {

/// A suspended coroutine, waiting in a list.
class Waiter : public ListLink {
 public:
  enum class End { woken, resumed, cancelled, dropped };
  /// Leaves the list and destroys itself; the handler is posted, called (resumed), or dropped with its coroutine.
  virtual void finish(End end) = 0;

 protected:
  ~Waiter() = default;
};

class WaitList;

/// Knows the lists of one io_context, so that coroutines which still wait when it is destroyed are destroyed with it:
/// a list often lives in the very coroutine that waits in it.
class WaitService final : public asio::execution_context::service {
 public:
  using key_type = WaitService;
  explicit WaitService(asio::execution_context& context) : asio::execution_context::service(context) {}

  void add(ListLink& list) noexcept {
    const std::lock_guard lock(mutex_);
    list.insert_before(lists_);
  }
  void remove(ListLink& list) noexcept {
    const std::lock_guard lock(mutex_);
    list.unlink();
  }

 private:
  inline void shutdown() noexcept override;

  std::mutex mutex_;  // lists of several strands share the service
  ListLink lists_;
};

/// Coroutines that wait for a word, first come first served. Waking is by post: nobody runs inside `wake_*`, only
/// inside `resume_one`. One executor. Destroying the list cancels who waits in it.
class WaitList : private ListLink {
 public:
  explicit WaitList(Executor executor) : executor_(std::move(executor)) {}
  ~WaitList() {
    while (!waiters_.is_alone()) static_cast<Waiter&>(*waiters_.next()).finish(Waiter::End::cancelled);
    if (service_ != nullptr) service_->remove(*this);
  }
  WaitList(const WaitList&) = delete;
  WaitList& operator=(const WaitList&) = delete;

  /// Suspends until woken, and gives true; or until cancelled (terminal), and gives false.
  [[nodiscard]] awaitable<bool> try_wait() {
    if (service_ == nullptr) {
      service_ = &asio::use_service<WaitService>(asio::query(executor_, asio::execution::context));
      service_->add(*this);
    }
    return asio::async_initiate<const asio::use_awaitable_t<Executor>, void(bool)>(
        [this]<class Handler>(Handler&& handler) { enqueue(std::forward<Handler>(handler)); }, use_awaitable);
  }
  /// Suspends until woken; throws when cancelled.
  [[nodiscard]] awaitable<void> wait() {
    const bool woken = co_await try_wait();
    if (!woken) throw_cancelled();
  }

  /// @return false when nobody waits.
  bool wake_one() {
    if (waiters_.is_alone()) return false;
    static_cast<Waiter&>(*waiters_.next()).finish(Waiter::End::woken);
    return true;
  }
  void wake_all() {
    while (wake_one()) {
    }
  }
  /// Runs the first that waits to its next suspension, or to its end, which may be the end of this list; for a handler
  /// of the executor that has nothing else to do, and saves it a message. Throws what that throws.
  void resume_one() {
    if (!waiters_.is_alone()) static_cast<Waiter&>(*waiters_.next()).finish(Waiter::End::resumed);
  }

 private:
  friend class WaitService;

  /// Sits in the cancellation slot of a waiting coroutine.
  struct Canceller {
    explicit Canceller(Waiter* w) noexcept : waiter(w) {}
    void operator()(asio::cancellation_type type) {
      if ((type & asio::cancellation_type::terminal) == asio::cancellation_type::none) return;
      if (waiter != nullptr) waiter->finish(Waiter::End::cancelled);
    }
    Waiter* waiter;
  };

  template <class Handler>
  class WaiterFor final : public Waiter {
   public:
    using Allocator = asio::recycling_allocator<WaiterFor>;

    WaiterFor(Handler&& handler, const Executor& otherwise)
        : handler_(std::move(handler)), executor_(asio::get_associated_executor(handler_, otherwise)) {
      if (auto slot = asio::get_associated_cancellation_slot(handler_); slot.is_connected()) {
        canceller_ = &slot.template emplace<Canceller>(this);
      }
    }

    void finish(End end) override {
      unlink();
      if (canceller_ != nullptr) canceller_->waiter = nullptr;  // it stays in the slot
      auto handler = std::move(handler_);
      const auto executor = std::move(executor_);
      Allocator allocator;
      std::allocator_traits<Allocator>::destroy(allocator, this);
      allocator.deallocate(this, 1);
      if (end == End::dropped) return;
      if (end == End::resumed) return handler(true);
      asio::post(executor, [handler = std::move(handler), woken = end == End::woken]() mutable { handler(woken); });
    }

   private:
    Handler handler_;
    Executor executor_;
    Canceller* canceller_ = nullptr;
  };

  template <class Handler>
  void enqueue(Handler handler) {
    using Node = WaiterFor<Handler>;
    typename Node::Allocator allocator;
    Node* const node = allocator.allocate(1);
    std::construct_at(node, std::move(handler), executor_);
    node->insert_before(waiters_);
  }

  Executor executor_;
  WaitService* service_ = nullptr;
  ListLink waiters_;
};

inline void WaitService::shutdown() noexcept {
  ListLink left;
  {
    const std::lock_guard lock(mutex_);
    for (auto* link = lists_.next(); link != &lists_; link = link->next()) {
      auto& waiters = static_cast<WaitList&>(*link).waiters_;
      while (!waiters.is_alone()) {
        auto& waiter = *waiters.next();
        waiter.unlink();
        waiter.insert_before(left);
      }
    }
  }
  while (!left.is_alone()) static_cast<Waiter&>(*left.next()).finish(Waiter::End::dropped);
}

}  // namespace skep::inline v0::detail
