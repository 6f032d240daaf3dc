// when_all: many coroutines at once, awaited together.
#pragma once

#include <cstddef>
#include <exception>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include "skep/async/awaitable.hpp"
#include "skep/async/cancellation.hpp"
#include "skep/async/outcome.hpp"
#include "skep/async/scope.hpp"

namespace skep::inline v0 {

namespace detail {

/// Runs all; with `fail_fast` the first failure cancels the others and its index + 1 is returned, else 0.
template <class T>
awaitable<std::size_t> run_all(std::vector<awaitable<T>> operations, std::vector<Outcome<T>>& outcomes,
                               bool fail_fast) {
  const auto group = std::make_shared<ChildGroup>(co_await asio::this_coro::executor);
  // the operations refer to this frame: their end is awaited, whatever they or others cancel meanwhile
  const bool throws = co_await asio::this_coro::throw_if_cancelled();
  co_await asio::this_coro::throw_if_cancelled(false);
  std::size_t failed = 0;
  for (std::size_t i = 0; i < operations.size(); ++i) {
    group->spawn(run_into(std::move(operations[i]), outcomes[i]), [&, i](std::exception_ptr stopped) {
      if (stopped) outcomes[i].set_error(std::move(stopped));  // cancelled before it began
      if (outcomes[i] || !fail_fast || failed != 0) return;
      failed = i + 1;
      group->cancel();
    });
  }
  co_await ChildGroup::join(group);
  co_await asio::this_coro::throw_if_cancelled(throws);
  co_return failed;
}

}  // namespace detail

/// Awaits all operations concurrently, on the caller's executor; the outcomes stand in the order of the operations.
/// Throws nothing: look at each. Cancelling the caller cancels them all, which each outcome then says.
template <class T>
[[nodiscard]] awaitable<std::vector<Outcome<T>>> when_all_settled(std::vector<awaitable<T>> operations) {
  std::vector<Outcome<T>> outcomes(operations.size());
  co_await detail::run_all(std::move(operations), outcomes, false);
  co_return outcomes;
}

/// Awaits all operations concurrently; the values stand in the order of the operations. The first failure cancels the
/// others, waits for their end and is thrown.
template <class T>
  requires(!std::is_void_v<T>)
[[nodiscard]] awaitable<std::vector<T>> when_all(std::vector<awaitable<T>> operations) {
  std::vector<Outcome<T>> outcomes(operations.size());
  const std::size_t failed = co_await detail::run_all(std::move(operations), outcomes, true);
  if (failed != 0) std::rethrow_exception(outcomes[failed - 1].error());
  std::vector<T> values;
  values.reserve(outcomes.size());
  for (auto& outcome : outcomes) values.push_back(std::move(outcome).get());
  co_return values;
}

/// The same for operations that return nothing.
[[nodiscard]] inline awaitable<void> when_all(std::vector<awaitable<void>> operations) {
  std::vector<Outcome<void>> outcomes(operations.size());
  const std::size_t failed = co_await detail::run_all(std::move(operations), outcomes, true);
  if (failed != 0) std::rethrow_exception(outcomes[failed - 1].error());
}

}  // namespace skep::inline v0
