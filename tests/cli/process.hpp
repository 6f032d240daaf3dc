// A command run in a child process, its standard error read line by line, with a deadline on everything.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>
// doctest comes last
#include <doctest/doctest.h>

namespace skep::test {

/// Forks and calls a command's main; make it before any thread.
class Process {
 public:
  using Main = int (*)(int, char**);

  Process(Main main, std::vector<std::string> arguments) {
    int pipe[2];
    REQUIRE(::pipe(pipe) == 0);
    std::fflush(nullptr);
    child_ = ::fork();
    REQUIRE(child_ >= 0);
    if (child_ == 0) {
      ::close(pipe[0]);
      ::dup2(pipe[1], STDERR_FILENO);
      ::dup2(pipe[1], STDOUT_FILENO);
      arguments.insert(arguments.begin(), "command");
      std::vector<char*> argv;
      for (auto& argument : arguments) argv.push_back(argument.data());
      argv.push_back(nullptr);
      const int code = main(static_cast<int>(arguments.size()), argv.data());
      std::fflush(nullptr);
      ::_exit(code);
    }
    ::close(pipe[1]);
    output_ = pipe[0];
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process() {
    if (child_ > 0) {
      ::kill(child_, SIGKILL);
      ::waitpid(child_, nullptr, 0);
    }
    ::close(output_);
  }

  /// Reads until a line holds the text; gives the line. Fails the test after 30 s or at the end of the output.
  std::string line_with(std::string_view text) {
    for (;;) {
      for (auto end = text_.find('\n', read_); end != std::string::npos; end = text_.find('\n', read_)) {
        const auto line = text_.substr(read_, end - read_);
        read_ = end + 1;
        if (line.find(text) != std::string::npos) return line;
      }
      REQUIRE_MESSAGE(read_more(), "no line with \"" << text << "\" in:\n" << text_);
    }
  }

  void signal(int number) { ::kill(child_, number); }

  /// Waits for the end; 128 + n when signal n ended it. Fails the test after 30 s.
  int exit_code() {
    while (read_more()) {
    }
    int status = 0;
    REQUIRE(::waitpid(std::exchange(child_, -1), &status, 0) > 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

  /// All that it has printed so far.
  [[nodiscard]] const std::string& output() const noexcept { return text_; }

 private:
  bool read_more() {
    pollfd descriptor{output_, POLLIN, 0};
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline_ - std::chrono::steady_clock::now());
    if (left.count() <= 0 || ::poll(&descriptor, 1, static_cast<int>(left.count())) <= 0) {
      ::kill(child_, SIGKILL);
      FAIL("the command is stuck after printing:\n" << text_);
    }
    std::string buffer(4096, '\0');
    const auto got = ::read(output_, buffer.data(), buffer.size());
    if (got <= 0) return false;
    text_.append(buffer, 0, static_cast<std::size_t>(got));
    return true;
  }

  pid_t child_ = -1;
  int output_ = -1;
  std::string text_;
  std::size_t read_ = 0;
  const std::chrono::steady_clock::time_point deadline_ = std::chrono::steady_clock::now() + std::chrono::seconds(30);
};

/// Runs a command that is to fail by itself: gives its code, and its only line.
inline std::pair<int, std::string> failure(Process::Main main, std::vector<std::string> arguments) {
  Process process(main, std::move(arguments));
  const int code = process.exit_code();
  std::string text = process.output();
  REQUIRE(text.ends_with('\n'));
  text.pop_back();
  return {code, text};
}

}  // namespace skep::test
