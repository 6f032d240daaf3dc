// Cancellation as the library uses it: terminal only, told apart from failures in one place, and outlived by cleanup.
#pragma once

#include <asio/cancellation_state.hpp>
#include <asio/cancellation_type.hpp>
#include <asio/error.hpp>
#include <asio/this_coro.hpp>
#include <exception>
#include <system_error>

#include "skep/async/awaitable.hpp"
#include "skep/core/error.hpp"

namespace skep::inline v0 {

/// Whether a code says that an operation was given up on request, not that it failed.
[[nodiscard]] inline bool is_cancellation(const std::error_code& code) noexcept {
  return code == asio::error::operation_aborted || code == errc::cancelled;
}

/// The same for what a coroutine threw.
[[nodiscard]] inline bool is_cancellation(const std::exception_ptr& thrown) noexcept {
  if (!thrown) return false;
  try {
    std::rethrow_exception(thrown);
  } catch (const std::system_error& error) {
    return is_cancellation(error.code());
  } catch (...) {
    return false;
  }
}

/// `is_cancelled(co_await asio::this_coro::cancellation_state)`: whether this coroutine was asked to stop. A cleanup
/// that clears it looks first, so that a cancellation which meets a success is not forgotten.
[[nodiscard]] inline bool is_cancelled(const asio::cancellation_state& state) noexcept {
  return state.cancelled() != asio::cancellation_type::none;
}

/// `co_await clear_cancellation();` makes this coroutine forget that it was cancelled, so that its cleanup may await.
/// After a cancellation every `co_await` throws until this was said; a further cancellation works as the first did.
[[nodiscard]] inline auto clear_cancellation() {
  return asio::this_coro::reset_cancellation_state(asio::enable_terminal_cancellation());
}

/// What an awaited operation throws when it was cancelled; the same as Asio's own operations throw.
[[noreturn]] inline void throw_cancelled() {
  throw std::system_error(asio::error::make_error_code(asio::error::operation_aborted));
}

}  // namespace skep::inline v0
