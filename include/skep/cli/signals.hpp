// Signals: SIGINT and SIGTERM as a request to shut down, taken by a thread of their own.
#pragma once

#include <pthread.h>

#include <atomic>
#include <condition_variable>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "skep/cli/console.hpp"
#include "skep/core/time.hpp"

namespace skep::inline v0::cli {

/// Takes SIGINT and SIGTERM for the whole process while it lives. Make it before any other thread, which would
/// otherwise get them.
///
/// The first one is a request to shut down, which `wait` returns; before `started`, and from the second on, the process
/// ends at once with the code 128 + the signal's number, as shells expect.
class Signals {
 public:
  Signals() {
    ::pthread_sigmask(SIG_BLOCK, &watched(), &before_);
    std::signal(SIGPIPE, SIG_IGN);
    thread_ = std::thread([this] { watch(); });
  }
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;
  ~Signals() {
    ending_ = true;
    ::pthread_kill(thread_.native_handle(), SIGTERM);
    thread_.join();
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }

  /// From now on there is something to shut down.
  void started() noexcept { started_ = true; }

  /// Waits for the request. @return the signal, or nullopt when the time is over
  [[nodiscard]] std::optional<int> wait_for(Duration wait) {
    std::unique_lock lock(mutex_);
    if (!asked_.wait_for(lock, wait, [&] { return signal_ != 0; })) return std::nullopt;
    return signal_;
  }
  int wait() {
    std::unique_lock lock(mutex_);
    asked_.wait(lock, [&] { return signal_ != 0; });
    return signal_;
  }

 private:
  [[nodiscard]] static const sigset_t& watched() noexcept {
    static const sigset_t set = [] {
      sigset_t made;
      ::sigemptyset(&made);
      ::sigaddset(&made, SIGINT);
      ::sigaddset(&made, SIGTERM);
      return made;
    }();
    return set;
  }

  void watch() {
    for (bool first = true;; first = false) {
      int signal = 0;
      if (::sigwait(&watched(), &signal) != 0) continue;
      if (ending_) return;
      info("Caught signal " + std::to_string(signal) + " (" + ::strsignal(signal) + "), shutting down");
      if (!first || !started_) std::_Exit(128 + signal);
      const std::lock_guard lock(mutex_);
      signal_ = signal;
      asked_.notify_all();
    }
  }

  sigset_t before_{};
  std::atomic<bool> started_{false};
  std::atomic<bool> ending_{false};
  std::mutex mutex_;
  std::condition_variable asked_;
  int signal_ = 0;
  std::thread thread_;
};

}  // namespace skep::inline v0::cli
