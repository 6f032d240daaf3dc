// post: a function that an executor runs later.
#pragma once

#include <asio/post.hpp>
#include <utility>

#include "skep/async/awaitable.hpp"

namespace skep::inline v0 {

/// Runs `function()` on the executor, never inside this call. Any thread.
template <class F>
void post(const Executor& executor, F&& function) {
  asio::post(executor, std::forward<F>(function));
}

}  // namespace skep::inline v0
