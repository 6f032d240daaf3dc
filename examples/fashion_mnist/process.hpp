// Child processes that cannot outlive this one, and what they print.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "skep/core/error.hpp"

namespace example {

/// A child process with its standard error readable from here. The kernel kills it when the thread that started it
/// ends, so none is left behind even after SIGKILL; the destructor stops it and waits.
class Process {
 public:
  explicit Process(std::vector<std::string> command) : name_(command.front()) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) throw std::system_error(errno, std::generic_category(), "pipe2");
    std::vector<char*> argv;
    for (auto& word : command) argv.push_back(word.data());
    argv.push_back(nullptr);
    const pid_t parent = getpid();
    pid_ = fork();
    if (pid_ < 0) throw std::system_error(errno, std::generic_category(), "fork");
    if (pid_ == 0) {  // between fork and exec only calls that are safe there
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (getppid() != parent) _exit(1);
      setpgid(0, 0);  // Ctrl-C reaches us, and we stop the children in order
      dup2(ends[1], STDERR_FILENO);
      execv(argv[0], argv.data());
      _exit(127);
    }
    close(ends[1]);
    output_ = ends[0];
  }
  Process(Process&& other) noexcept
      : name_(std::move(other.name_)),
        pid_(std::exchange(other.pid_, -1)),
        output_(std::exchange(other.output_, -1)),
        text_(std::move(other.text_)) {}
  Process& operator=(Process&&) = delete;
  ~Process() {
    stop();
    if (output_ >= 0) close(output_);
  }

  [[nodiscard]] pid_t pid() const noexcept { return pid_; }

  /// Reads what the child prints until a line contains `what`; that line. Throws with the child's last words when it
  /// ends before, or when `limit` is over.
  std::string wait_for_line(std::string_view what, std::chrono::milliseconds limit) {
    const auto deadline = std::chrono::steady_clock::now() + limit;
    std::size_t from = 0;
    for (;;) {
      for (std::size_t end; (end = text_.find('\n', from)) != std::string::npos; from = end + 1) {
        const auto line = text_.substr(from, end - from);
        if (line.find(what) != std::string::npos) return line;
      }
      const auto left =
          std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
      if (left.count() <= 0) throw failed("did not print \"" + std::string(what) + "\" in time");
      pollfd waiting{output_, POLLIN, 0};
      if (poll(&waiting, 1, static_cast<int>(left.count())) <= 0) continue;
      char buffer[4096];
      const auto n = read(output_, buffer, sizeof buffer);
      if (n <= 0) throw failed("ended before it was ready");
      text_.append(buffer, static_cast<std::size_t>(n));
      if (text_.size() > (1U << 20)) text_.erase(0, std::exchange(from, 0));
    }
  }

  /// Throws away what the child has printed, so that its pipe never fills. Costs a system call.
  void drain() {
    pollfd waiting{output_, POLLIN, 0};
    char buffer[4096];
    while (output_ >= 0 && poll(&waiting, 1, 0) > 0 && (waiting.revents & POLLIN) &&
           read(output_, buffer, sizeof buffer) > 0) {
    }
  }

  /// SIGKILL, as a machine that loses its power.
  void kill_now() {
    if (pid_ > 0) ::kill(pid_, SIGKILL);
    reap();
  }

  /// Stops it where it is, and lets it go on.
  void pause() const { ::kill(pid_, SIGSTOP); }
  void resume() const { ::kill(pid_, SIGCONT); }

  /// Asks to stop (SIGTERM), waits up to three seconds, then kills.
  void stop() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGTERM);
    ::kill(pid_, SIGCONT);
    for (int i = 0; i < 300 && pid_ > 0; ++i) {
      drain();
      if (waitpid(pid_, nullptr, WNOHANG) == pid_)
        pid_ = -1;
      else
        poll(nullptr, 0, 10);
    }
    kill_now();
  }

 private:
  void reap() {
    while (pid_ > 0 && waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
  }
  [[nodiscard]] skep::Error failed(const std::string& why) const {
    const auto end = text_.find_last_not_of('\n');
    const auto last = end == std::string::npos ? std::string("nothing")
                                               : text_.substr(text_.rfind('\n', end) + 1, end - text_.rfind('\n', end));
    return {skep::make_error_code(skep::errc::closed),
            name_ + " " + why + "; its last words: " + skep::printable(last)};
  }

  std::string name_;
  pid_t pid_ = -1;
  int output_ = -1;
  std::string text_;
};

}  // namespace example
