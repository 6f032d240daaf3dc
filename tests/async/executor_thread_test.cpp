#include "skep/async/executor_thread.hpp"

#include <chrono>
#include <string>
#include <thread>

// doctest comes last
#include <doctest/doctest.h>

using namespace skep;

namespace {
awaitable<std::thread::id> where() { co_return std::this_thread::get_id(); }
awaitable<int> failing() {
  throw Error(errc::busy, "no");
  co_return 1;
}
/// Notes on which thread it ends.
struct Witness {
  explicit Witness(std::thread::id* to) : note(to) {}
  Witness(Witness&& other) noexcept : note(std::exchange(other.note, nullptr)) {}
  Witness& operator=(Witness&&) = delete;
  ~Witness() {
    if (note) *note = std::this_thread::get_id();
  }
  std::thread::id* note;
};
}  // namespace

TEST_CASE("a coroutine runs on the executor's thread and its caller waits for the value or the error") {
  asio::io_context io;
  auto work = asio::make_work_guard(io);
  std::thread::id destroyed_on;
  std::thread thread([&] { io.run(); });
  const auto there = thread.get_id();
  {
    const ExecutorThread outside(io.get_executor());
    CHECK_FALSE(outside.is_here());
    CHECK(outside.block_on(where(), 10s) == there);
    CHECK_THROWS_AS(outside.block_on(failing(), 10s), Error);
    std::error_code code;
    outside.block_on(
        [](const ExecutorThread& of, std::error_code& told) -> awaitable<void> {
          try {
            of.require_elsewhere("the call");
          } catch (const Error& error) {
            told = error.code();
          }
          co_return;
        }(outside, code),
        unlimited);
    CHECK(code == errc::wrong_thread);
    (void)share_on(io.get_executor(), Witness(&destroyed_on));
    work.reset();
  }
  thread.join();
  CHECK(destroyed_on == there);
}

TEST_CASE("when nobody runs the executor, the call ends by its patience") {
  asio::io_context io;
  const ExecutorThread outside(io.get_executor());
  std::string words;
  try {
    outside.block_on(where(), 10ms);
  } catch (const Error& error) {
    words = error.what();
  }
  CHECK(words == "skep: the thread of the host has not answered within 10 ms: does anybody run its io_context?");
}
