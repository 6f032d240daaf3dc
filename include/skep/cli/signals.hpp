// Signals: SIGINT and SIGTERM as a request to shut down, taken by a thread of their own.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <mutex>
#include <optional>
#include <string>
#include <system_error>
#include <thread>

#include "skep/cli/console.hpp"
#include "skep/core/time.hpp"

namespace skep::inline v0::cli {

/// Takes SIGINT and SIGTERM for the whole process while it lives; one object at a time. By handlers, not by blocking
/// them: libraries start threads before main, which nobody could ask to block anything.
///
/// The first one is a request to shut down, which `wait` returns; before `started`, and from the second on, the process
/// ends at once with the code 128 + the signal's number, as shells expect.
class Signals {
 public:
  Signals() {
    if (::pipe2(pipe_, O_CLOEXEC) != 0) throw std::system_error(errno, std::generic_category(), "pipe2");
    write_end() = pipe_[1];
    struct sigaction action = {};
    action.sa_handler = [](int signal) {
      const int error = errno;
      const auto byte = static_cast<unsigned char>(signal);
      [[maybe_unused]] const auto written = ::write(write_end(), &byte, 1);
      errno = error;
    };
    action.sa_flags = SA_RESTART;
    for (std::size_t i = 0; i < std::size(taken); ++i) ::sigaction(taken[i], &action, &before_[i]);
    std::signal(SIGPIPE, SIG_IGN);
    thread_ = std::thread([this] { watch(); });
  }
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;
  ~Signals() {
    for (std::size_t i = 0; i < std::size(taken); ++i) ::sigaction(taken[i], &before_[i], nullptr);
    write_end() = -1;
    const unsigned char end = 0;
    [[maybe_unused]] const auto written = ::write(pipe_[1], &end, 1);
    thread_.join();
    ::close(pipe_[0]);
    ::close(pipe_[1]);
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
  static constexpr int taken[] = {SIGINT, SIGTERM};

  [[nodiscard]] static std::atomic<int>& write_end() noexcept {
    static std::atomic<int> descriptor = -1;
    return descriptor;
  }

  void watch() {
    for (bool first = true;; first = false) {
      unsigned char signal = 0;
      while (::read(pipe_[0], &signal, 1) < 0 && errno == EINTR) {
      }
      if (signal == 0) return;
      info("Caught signal " + std::to_string(signal) + " (" + ::strsignal(signal) + "), shutting down");
      if (!first || !started_) std::_Exit(128 + signal);
      const std::lock_guard lock(mutex_);
      signal_ = signal;
      asked_.notify_all();
    }
  }

  int pipe_[2] = {-1, -1};
  struct sigaction before_[std::size(taken)] = {};
  std::atomic<bool> started_{false};
  std::mutex mutex_;
  std::condition_variable asked_;
  int signal_ = 0;
  std::thread thread_;
};

}  // namespace skep::inline v0::cli
