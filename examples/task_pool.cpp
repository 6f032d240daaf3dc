// The batching pool over any function: no network and no tensors. A thousand coroutines, a handful of batches; what is
// too large for one batch goes through in several, and what nobody can wait for is not computed.
#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>
#include <atomic>
#include <iostream>
#include <numeric>
#include <skep/core/error.hpp>
#include <skep/moe/task_pool.hpp>
#include <vector>

namespace {

using Row = double;

std::atomic<int> batches = 0;

std::vector<Row> score(std::vector<Row> rows) {
  ++batches;
  for (auto& row : rows) row = row * row;
  return rows;
}

}  // namespace

int main() {
  asio::io_context io;
  skep::moe::TaskPool pool([](std::vector<Row> rows) { return score(std::move(rows)); },
                           {.max_batch_size = 256, .max_queued = 2000});
  double sum = 0;
  const auto rethrow = [](std::exception_ptr thrown) {
    if (thrown) std::rethrow_exception(thrown);
  };
  for (int i = 0; i < 1000; ++i) {
    const auto one = [&pool, &sum, i]() -> skep::awaitable<void> {
      const auto mine = co_await pool.submit_task(std::vector<Row>{double(i)});
      sum += mine.at(0);
    };
    asio::co_spawn(io, one, rethrow);
  }

  std::vector<Row> many(1000);
  std::iota(many.begin(), many.end(), 0.0);
  double at_once = 0;
  bool late = false;
  const auto large = [&]() -> skep::awaitable<void> {
    const auto all = co_await pool.submit_task(many, {.priority = -1});  // before the thousand
    at_once = std::accumulate(all.begin(), all.end(), 0.0);
    const auto now = std::chrono::steady_clock::now();
    try {
      co_await pool.submit_task(many, {.deadline = now});
    } catch (const skep::Error& error) {
      late = error.code() == skep::errc::timed_out;
    }
  };
  asio::co_spawn(io, large, rethrow);

  io.run();
  std::cout << "sum of squares " << sum << " one by one and " << at_once << " at once, in " << batches << " batches\n";
  return sum == 332833500 && at_once == sum && late ? 0 : 1;
}
