// The coroutine type of the library and the tokens that go with it; with its neighbours the only place that names
// Asio's.
#pragma once

#if defined(__clang__) && !defined(ASIO_HAS_CO_AWAIT)
#error \
    "skep: with Clang, compile with -DASIO_HAS_CO_AWAIT=1 (the CMake target skep::dht does), or Asio finds no coroutines"
#endif

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>
#include <concepts>

#include "skep/core/time.hpp"

namespace skep::inline v0 {

/// A lazy coroutine: it runs only when awaited, on the executor of the coroutine that awaits it.
template <class T = void>
using awaitable = asio::awaitable<T, asio::any_io_executor>;

using Executor = asio::any_io_executor;

inline constexpr asio::use_awaitable_t<asio::any_io_executor> use_awaitable{};

/// `co_await this_executor` gives the executor on which the coroutine runs.
inline constexpr asio::this_coro::executor_t this_executor{};

/// Where time comes from: a `p2p::Host` (real clocks) or a `sim::Host` (virtual time).
template <class C>
concept Clock = requires(C& clock, SteadyTime t) {
  { clock.steady_now() } -> std::same_as<SteadyTime>;
  { clock.sleep_until(t) } -> std::same_as<awaitable<void>>;
  { clock.executor() } -> std::convertible_to<Executor>;
};

}  // namespace skep::inline v0
