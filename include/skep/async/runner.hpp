// Runner: owns an io_context and its thread, and is the bridge from blocking code into it.
#pragma once

#include <pthread.h>
#include <unistd.h>

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <concepts>
#include <condition_variable>
#include <exception>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>

#include "skep/async/awaitable.hpp"
#include "skep/async/outcome.hpp"
#include "skep/async/scope.hpp"
#include "skep/core/error.hpp"
#include "skep/core/log.hpp"
#include "skep/core/new_shared.hpp"
#include "skep/core/time.hpp"

namespace skep::inline v0 {

namespace detail {
// Read through a function: a thread-local's address must not be kept over a suspension.
[[gnu::visibility("default")]] inline bool& no_blocking_mark() noexcept {
  static thread_local bool marked = false;
  return marked;
}
}  // namespace detail

/// Says that the current thread runs other people's work and must not block: a Runner's thread, a Runtime's thread.
inline void mark_no_blocking(bool marked = true) noexcept { detail::no_blocking_mark() = marked; }
[[nodiscard]] inline bool on_io_thread() noexcept { return detail::no_blocking_mark(); }

/// Throws errc::wrong_thread when the current thread must not block; what every blocking call of the library does
/// first.
/// @param call  the call's name, a literal
inline void require_may_block(const char* call) {
  if (!on_io_thread()) return;
  throw Error(errc::wrong_thread, std::string(call) +
                                      " blocks and was called from a thread that serves others, where it "
                                      "would wait for itself; call it from a thread of your own, or "
                                      "co_await the coroutine instead");
}

namespace detail {

[[nodiscard]] inline Error stopped() { return {errc::closed, "the runner was stopped before the coroutine ended"}; }

/// Keeps its promise in any case: when it is destroyed unfulfilled, the future throws errc::closed.
template <class T>
class KeptPromise {
 public:
  KeptPromise() = default;
  KeptPromise(KeptPromise&& other) noexcept
      : promise_(std::move(other.promise_)), open_(std::exchange(other.open_, false)) {}
  KeptPromise& operator=(KeptPromise&&) = delete;
  ~KeptPromise() {
    if (open_) close();
  }

  [[nodiscard]] std::future<T> future() { return promise_.get_future(); }
  template <class... Args>
  void set_value(Args&&... args) {
    open_ = false;
    promise_.set_value(std::forward<Args>(args)...);
  }
  void set_exception(std::exception_ptr thrown) {
    open_ = false;
    promise_.set_exception(std::move(thrown));
  }
  void close() { set_exception(std::make_exception_ptr(stopped())); }

 private:
  std::promise<T> promise_;
  bool open_ = true;
};

/// Ends a promise as a coroutine ends.
template <class T>
awaitable<void> fulfil(awaitable<T> coroutine, KeptPromise<T> promise) {
  try {
    if constexpr (std::is_void_v<T>) {
      co_await std::move(coroutine);
      promise.set_value();
    } else {
      promise.set_value(co_await std::move(coroutine));
    }
  } catch (...) {
    const auto thrown = std::current_exception();
    if (is_cancellation(thrown)) {
      promise.close();
    } else {
      promise.set_exception(thrown);
    }
  }
}

}  // namespace detail

/// One thread that runs one io_context.
///
/// *Lifetime:* what lives on `executor()` is closed before the runner is stopped and destroyed before the runner is;
/// the destructor stops it. Destroyed on its own thread, it lets that thread end by itself. *Threads:* every member
/// from any thread. *Fork:* a child process has the runner's memory but not its thread; it may only exec or _exit.
/// *Errors:* what a handler throws is logged and the thread goes on.
class Runner {
 public:
  /// @param name  of the thread, as `top -H` shows it; at most 15 characters
  explicit Runner(const std::string& name = "skep-io") : state_(new_shared<State>()) {
    state_->thread = std::thread(run, state_, name.substr(0, 15));
  }
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;
  ~Runner() { stop(); }

  [[nodiscard]] Executor executor() const noexcept { return state_->io.get_executor(); }

  /// Runs a coroutine on the thread and waits for its end; returns its value or throws what it threw. Throws
  /// errc::wrong_thread at once on a thread that must not block, errc::closed when the runner is stopped first.
  template <class T>
  T block_on(awaitable<T> coroutine) {
    require_may_block("block_on");
    Outcome<T> outcome;
    spawn_future(detail::run_into(std::move(coroutine), outcome)).get();
    if (is_cancellation(outcome.error())) throw detail::stopped();
    return std::move(outcome).get();
  }
  /// The same for a lambda that makes the coroutine; its captures live as long as that. Pass it, do not call it.
  template <std::invocable F>
  auto block_on(F function) {
    return block_on(detail::keep_alive(std::move(function)));
  }

  /// Starts a coroutine on the thread. The future throws errc::closed when the runner is stopped first.
  template <class T>
  [[nodiscard]] std::future<T> spawn_future(awaitable<T> coroutine) {
    detail::KeptPromise<T> promise;
    auto future = promise.future();
    start(detail::fulfil(std::move(coroutine), std::move(promise)));
    return future;
  }
  template <std::invocable F>
  [[nodiscard]] auto spawn_future(F function) {
    return spawn_future(detail::keep_alive(std::move(function)));
  }

  /// Lets no new coroutine in, cancels those that run, waits until the thread has nothing left to do, and joins it.
  /// What is not done after `grace` is dropped with a warning. Idempotent. On its own thread it only asks, and does not
  /// wait.
  void stop(Duration grace = 5s) {
    const auto state = state_;
    if (state->pid != ::getpid()) {  // a forked child: the thread does not exist here
      if (state->thread.joinable()) state->thread.detach();
      return;
    }
    std::unique_lock lock(state->mutex);
    if (!std::exchange(state->stopping, true)) {
      state->scope.cancel();
      state->work.reset();
    }
    if (state->own == std::this_thread::get_id()) {
      if (state->thread.joinable()) state->thread.detach();
      return;
    }
    if (!state->finished.wait_for(lock, grace, [&] { return state->done; })) {
      log(LogLevel::warning, "runner", "something on the I/O thread did not end after its cancellation and is dropped");
      state->io.stop();
      state->finished.wait(lock, [&] { return state->done; });
    }
    if (!state->thread.joinable()) return;
    state->thread.join();
    lock.unlock();
    state->io.drop();
  }

 private:
  /// An io_context that can let go of what waits in it before it is destroyed.
  struct Context : asio::io_context {
    Context() : asio::io_context(1) {}
    void drop() { shutdown(); }
  };

  struct State {
    Context io;
    asio::executor_work_guard<asio::io_context::executor_type> work{io.get_executor()};
    Scope scope{io.get_executor(), "runner"};
    std::thread thread;
    std::thread::id own;  // of the thread, under the mutex; `thread` forgets it when it is let go
    const pid_t pid = ::getpid();
    std::mutex mutex;
    std::condition_variable finished;
    bool stopping = false;  // under the mutex, as `done`
    bool done = false;
  };

  static void run(std::shared_ptr<State> state, const std::string& name) {
    mark_no_blocking();
    ::pthread_setname_np(::pthread_self(), name.c_str());
    {
      const std::lock_guard lock(state->mutex);
      state->own = std::this_thread::get_id();
    }
    for (bool failed = true; failed;) {
      try {
        state->io.run();
        failed = false;
      } catch (...) {
        log(LogLevel::error, "runner", "a handler threw: " + detail::describe(std::current_exception()));
      }
    }
    const std::lock_guard lock(state->mutex);
    state->done = true;
    state->finished.notify_all();
  }

  void start(awaitable<void> coroutine) {
    if (state_->pid != ::getpid()) return;
    const std::lock_guard lock(state_->mutex);
    if (state_->stopping) return;
    asio::post(state_->io, [state = state_.get(), coroutine = std::move(coroutine)]() mutable {
      state->scope.spawn(std::move(coroutine));
    });
  }

  std::shared_ptr<State> state_;
};

}  // namespace skep::inline v0
