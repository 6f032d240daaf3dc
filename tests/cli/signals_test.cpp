#include "skep/cli/signals.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <future>
#include <thread>

#include <doctest/doctest.h>

using namespace skep;
using cli::Signals;

TEST_CASE("D1.2 the first signal is a request") {
  Signals signals;
  signals.started();
  CHECK_FALSE(signals.wait_for(1ms));
  ::kill(::getpid(), SIGINT);
  CHECK(signals.wait() == SIGINT);
  CHECK(signals.wait_for(0s) == SIGINT);
}

TEST_CASE("a command in the background of a script, where the shell ignores SIGINT, takes it all the same") {
  std::signal(SIGINT, SIG_IGN);
  Signals signals;
  signals.started();
  ::kill(::getpid(), SIGINT);
  CHECK(signals.wait() == SIGINT);
}

TEST_CASE("a thread that is older than main and blocks nothing does not take the signal away") {
  std::promise<void> over;
  std::thread older([end = over.get_future()] { end.wait(); });
  Signals signals;
  signals.started();
  ::pthread_kill(older.native_handle(), SIGINT);
  CHECK(signals.wait() == SIGINT);
  over.set_value();
  older.join();
}

TEST_CASE("signals can be taken again after an earlier object is gone") {
  for (int i = 0; i < 3; ++i) {
    Signals signals;
    signals.started();
    ::kill(::getpid(), SIGTERM);
    CHECK(signals.wait() == SIGTERM);
  }
}

namespace {
/// How a child ends that is sent the signal while it does `work`.
template <class F>
int exit_code_of(F work) {
  int ready[2];
  REQUIRE(::pipe(ready) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    Signals signals;
    work(signals, [&] { (void)!::write(ready[1], "x", 1); });
    ::_exit(0);
  }
  char byte = 0;
  REQUIRE(::read(ready[0], &byte, 1) == 1);
  ::kill(child, SIGTERM);
  int status = 0;
  ::waitpid(child, &status, 0);
  ::close(ready[0]);
  ::close(ready[1]);
  return WEXITSTATUS(status);
}
}  // namespace

TEST_CASE("a signal before the start is over ends the process at once") {
  CHECK(exit_code_of([](Signals& signals, auto ready) {
          ready();
          (void)signals.wait();
        }) == 128 + SIGTERM);
}

TEST_CASE("a second signal ends a shutdown that takes too long") {
  CHECK(exit_code_of([](Signals& signals, auto ready) {
          signals.started();
          ::kill(::getpid(), SIGINT);
          (void)signals.wait();
          ready();
          for (;;) ::pause();
        }) == 128 + SIGTERM);
}
