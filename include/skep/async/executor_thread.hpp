// ExecutorThread: blocking code's bridge to an executor whose thread somebody else owns; a Runner is the one with its
// own.
#pragma once

#include <asio/dispatch.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <chrono>
#include <future>
#include <memory>
#include <string>
#include <utility>

#include "skep/async/awaitable.hpp"
#include "skep/async/runner.hpp"
#include "skep/async/scope.hpp"
#include "skep/async/with_timeout.hpp"
#include "skep/core/error.hpp"
#include "skep/core/time.hpp"

namespace skep::inline v0 {

/// An object that is destroyed on its executor, whoever lets go of it last. The executor's context must still exist
/// then.
template <class T>
[[nodiscard]] std::shared_ptr<T> share_on(Executor executor, T object) {
  return {new T(std::move(object)), [executor = std::move(executor)](T* last) {
            asio::dispatch(executor, [last = std::unique_ptr<T>(last)] {});
          }};
}

/// Starts coroutines on an executor and waits for them on other threads. Copies are the same.
///
/// *Threads:* any. *Lifetime:* the executor's context outlives it; when nobody runs the context, calls end by their
/// patience.
class ExecutorThread {
 public:
  explicit ExecutorThread(const Executor& executor) : scope_(share_on(executor, Scope(executor, "executor"))) {}

  [[nodiscard]] const Executor& executor() const noexcept { return scope_->executor(); }

  /// Whether the current thread serves the executor, as far as that can be told: that of an io_context can.
  [[nodiscard]] bool is_here() const noexcept {
    const auto* context = executor().target<asio::io_context::executor_type>();
    return on_io_thread() || (context != nullptr && context->running_in_this_thread());
  }
  /// Throws errc::wrong_thread where waiting for the executor would wait for itself.
  /// @param call  the call's name, a literal
  void require_elsewhere(const char* call) const {
    require_may_block(call);
    if (!is_here()) return;
    throw Error(errc::wrong_thread, std::string(call) +
                                        " blocks and was called from the thread that it would wait for; call it from "
                                        "another, or co_await the coroutine instead");
  }

  /// Runs a coroutine there and waits for its end; returns its value or throws what it threw.
  /// @param patience  the coroutine has a deadline of its own; that is over when the executor has not kept it so long
  template <class T>
  T block_on(awaitable<T> coroutine, Duration patience) const {
    require_elsewhere("block_on");
    detail::KeptPromise<T> promise;
    auto future = promise.future();
    asio::post(executor(), [scope = scope_, run = detail::fulfil(std::move(coroutine), std::move(promise))]() mutable {
      scope->spawn(std::move(run));
    });
    if (patience != unlimited && future.wait_for(patience) != std::future_status::ready) {
      throw Error(errc::timed_out, "the thread of the host has not answered within " + detail::describe_wait(patience) +
                                       ": does anybody run its io_context?");
    }
    return future.get();
  }

 private:
  std::shared_ptr<Scope> scope_;
};

}  // namespace skep::inline v0
