// The other end of a measurement in a process of its own: this program again, with other arguments.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

extern "C" char** environ;

namespace skep::bench {

/// Starts this program with `arguments`. It says one line on its standard output when it is ready ("127.0.0.1:1234"),
/// and ends when its standard input does: so it never outlives its parent.
class PeerProcess {
 public:
  /// @throws std::runtime_error when the process does not say its line within 10 s
  explicit PeerProcess(std::vector<std::string> arguments) {
    std::array<int, 2> in{};
    std::array<int, 2> out{};
    if (pipe2(in.data(), O_CLOEXEC) != 0 || pipe2(out.data(), O_CLOEXEC) != 0) fail("pipe");
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
    std::string program = "/proc/self/exe";
    std::vector<char*> argv{program.data()};
    for (auto& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    errno = posix_spawn(&process_, program.c_str(), &actions, nullptr, argv.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    close(in[0]);
    close(out[1]);
    stdin_ = in[1];
    stdout_ = out[0];
    if (errno != 0) fail("posix_spawn");
    read_line();
  }
  PeerProcess(const PeerProcess&) = delete;
  PeerProcess& operator=(const PeerProcess&) = delete;
  ~PeerProcess() {
    close(stdin_);
    close(stdout_);
    if (process_ > 0) waitpid(process_, nullptr, 0);
  }

  /// What the process said when it was ready.
  [[nodiscard]] const std::string& line() const { return line_; }

 private:
  [[noreturn]] static void fail(const char* what) { throw std::system_error(errno, std::generic_category(), what); }

  void read_line() {
    pollfd ready{stdout_, POLLIN, 0};
    for (char c = 0; poll(&ready, 1, 10'000) == 1 && read(stdout_, &c, 1) == 1;) {
      if (c == '\n') return;
      line_ += c;
    }
    kill(process_, SIGKILL);
    waitpid(process_, nullptr, 0);
    throw std::runtime_error("the other process of a benchmark did not start");
  }

  pid_t process_ = 0;
  int stdin_ = -1;
  int stdout_ = -1;
  std::string line_;
};

}  // namespace skep::bench
