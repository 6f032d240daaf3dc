// CO_TEST_CASE: a test case whose body is a coroutine on an io_context of its own; it fails when the body throws or is
// stuck.
#pragma once

#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>
#include <chrono>
#include <exception>

#include "skep/async/awaitable.hpp"
// doctest comes last: LibTorch's CHECK must not hide its own
#include <doctest/doctest.h>

namespace skep::test {

/// Runs a coroutine to its end on a fresh io_context and rethrows what it threw. "Stuck" (nothing left to run, or the
/// limit of real time over) is a failure.
inline void run(awaitable<void> body, asio::io_context& io, std::chrono::seconds limit = std::chrono::seconds(60)) {
  bool done = false;
  std::exception_ptr failure;
  asio::co_spawn(io, std::move(body), [&](std::exception_ptr e) {
    done = true;
    failure = e;
    io.stop();
  });
  io.run_for(limit);
  if (failure) std::rethrow_exception(failure);
  REQUIRE_MESSAGE(done, "the coroutine is stuck");
}

inline void run(awaitable<void> body) {
  asio::io_context io;
  run(std::move(body), io);
}

}  // namespace skep::test

#define SKEP_CO_TEST_IMPL(function, name)            \
  static ::skep::awaitable<void> function();         \
  TEST_CASE(name) { ::skep::test::run(function()); } \
  static ::skep::awaitable<void> function()
#define CO_TEST_CASE(name) SKEP_CO_TEST_IMPL(DOCTEST_ANONYMOUS(co_test_), name)
