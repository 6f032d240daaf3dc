// Driver: a child process that does what a test asks, one JSON object a line; for the tests against live Hivemind.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <asio/posix/stream_descriptor.hpp>
#include <asio/read_until.hpp>
#include <asio/write.hpp>
#include <cerrno>
#include <cstdlib>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "skep/async/asio_clock.hpp"
#include "skep/async/awaitable.hpp"
#include "skep/async/event.hpp"
#include "skep/async/scope.hpp"
#include "skep/async/with_timeout.hpp"

extern char** environ;

namespace skep_test {

using skep::AsioClock;
using skep::awaitable;
using skep::Event;
using skep::Executor;
using skep::Scope;
using skep::use_awaitable;
using namespace std::chrono_literals;

/// What the environment says, or an empty text.
[[nodiscard]] inline std::string from_environment(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? std::string() : std::string(value);
}

/// A Python script beside the tests, run by the Python that has Hivemind. Requests may overlap.
class Driver {
 public:
  Driver(Executor executor, const std::string& script)
      : state_(std::make_shared<State>(executor)), scope_(executor, "driver") {
    const std::string python = from_environment("SKEP_HIVEMIND_PYTHON");
    const std::string path = from_environment("SKEP_TESTS_DIR") + "/integration/" + script;
    int to_child[2];
    int from_child[2];
    if (pipe2(to_child, O_CLOEXEC) != 0 || pipe2(from_child, O_CLOEXEC) != 0) throw std::runtime_error("no pipes");
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, to_child[0], 0);
    posix_spawn_file_actions_adddup2(&actions, from_child[1], 1);
    const char* const arguments[] = {python.c_str(), path.c_str(), nullptr};
    const int failed =
        posix_spawn(&state_->pid, python.c_str(), &actions, nullptr, const_cast<char* const*>(arguments), environ);
    posix_spawn_file_actions_destroy(&actions);
    ::close(to_child[0]);
    ::close(from_child[1]);
    if (failed != 0) throw std::runtime_error("cannot start \"" + python + "\" (SKEP_HIVEMIND_PYTHON)");
    state_->in.assign(to_child[1]);
    state_->out.assign(from_child[0]);
    scope_.spawn(read(state_));
  }
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;
  /// The child ends with its input, and takes what it started with it; a stubborn one is killed.
  ~Driver() {
    scope_.cancel();
    state_->in.close();
    const int child = static_cast<int>(::syscall(SYS_pidfd_open, state_->pid, 0));
    if (child >= 0) {
      pollfd over{child, POLLIN, 0};  // readable when it has ended
      while (poll(&over, 1, 10'000) < 0 && errno == EINTR) {
      }
      if (over.revents == 0) ::kill(state_->pid, SIGKILL);
      ::close(child);
    }
    waitpid(state_->pid, nullptr, 0);
  }

  /// Asks for something and returns the answer. @throws std::runtime_error with the script's words
  awaitable<nlohmann::json> operator()(std::string what, nlohmann::json arguments = nlohmann::json::object()) {
    return ask(state_, std::move(what), std::move(arguments));
  }

 private:
  struct State {
    explicit State(Executor executor) : in(executor), out(executor), news(executor), clock(executor) {}
    asio::posix::stream_descriptor in;
    asio::posix::stream_descriptor out;
    Event news;
    AsioClock clock;
    std::map<int, nlohmann::json> answers;
    int next = 0;
    pid_t pid = 0;
    bool over = false;
  };

  static awaitable<void> read(std::shared_ptr<State> state) {
    std::string buffer;
    for (;;) {
      std::size_t n = 0;
      try {
        n = co_await asio::async_read_until(state->out, asio::dynamic_buffer(buffer), '\n', use_awaitable);
      } catch (const std::system_error&) {
        state->over = true;
        state->news.set();
        co_return;
      }
      auto answer = nlohmann::json::parse(buffer.substr(0, n));
      buffer.erase(0, n);
      const int id = answer.at("id").get<int>();
      state->answers[id] = std::move(answer);
      state->news.set();
      state->news.reset();
    }
  }

  static awaitable<nlohmann::json> ask(std::shared_ptr<State> state, std::string what, nlohmann::json arguments) {
    const int id = state->next++;
    arguments["id"] = id;
    arguments["do"] = what;
    const std::string line = arguments.dump() + "\n";
    co_await asio::async_write(state->in, asio::buffer(line), use_awaitable);
    while (!state->answers.contains(id)) {
      if (state->over) throw std::runtime_error(what + ": the driver has ended");
      co_await with_timeout(state->clock, 90s, state->news.wait(), "the driver");
    }
    const nlohmann::json answer = std::move(state->answers.at(id));
    state->answers.erase(id);
    if (answer.contains("error")) throw std::runtime_error(answer.at("error").get<std::string>());
    co_return answer.at("ok");
  }

  std::shared_ptr<State> state_;
  Scope scope_;
};

}  // namespace skep_test
