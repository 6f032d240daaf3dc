// The batching pool over any function: no network and no tensors. A thousand coroutines, a handful of batches.
#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>
#include <atomic>
#include <iostream>
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
                           {.max_batch_size = 256, .max_queued = 1000});
  double sum = 0;
  for (int i = 0; i < 1000; ++i) {
    const auto one = [&pool, &sum, i]() -> skep::awaitable<void> {
      const auto mine = co_await pool.submit_task(std::vector<Row>{double(i)});
      sum += mine.at(0);
    };
    asio::co_spawn(io, one, [](std::exception_ptr thrown) {
      if (thrown) std::rethrow_exception(thrown);
    });
  }
  io.run();
  std::cout << "sum of squares " << sum << " in " << batches << " batches\n";
  return sum == 332833500 ? 0 : 1;
}
