#include "skep/moe/pool_task.hpp"

#include <stdexcept>
#include <string>

#include "support/coroutine.hpp"

using Ints = std::vector<int>;
using Task = skep::moe::detail::PoolTask<Ints, Ints>;

namespace {
Task::Ptr make(Ints batch) {
  return std::make_shared<Task>(skep::Executor(), std::move(batch), skep::moe::TaskOptions{}, nullptr);
}
const std::exception_ptr broken = std::make_exception_ptr(std::runtime_error("broken"));
}  // namespace

TEST_CASE("a task has its outcome once") {
  const auto task = make({1, 2});
  CHECK(task->size == 2);
  CHECK_FALSE(task->is_dropped());
  CHECK(Task::succeed(task, {3, 4}) == task);
  CHECK(*task->outcome == Ints{3, 4});
  CHECK(Task::fail(task, broken) == nullptr);
  CHECK(task->outcome.error() == nullptr);
}

TEST_CASE("a task in chunks has its outcome with the last of them, joined in their order") {
  const auto task = make({1, 2, 3, 4, 5});
  const auto chunks = Task::cut(task, 2);
  REQUIRE(chunks.size() == 3);
  CHECK(chunks[1]->batch == Ints{3, 4});
  CHECK(chunks[2]->size == 1);
  CHECK(Task::succeed(chunks[2], {50}) == nullptr);
  CHECK(Task::succeed(chunks[0], {10, 20}) == nullptr);
  CHECK(Task::succeed(chunks[1], {30, 40}) == task);
  CHECK(*task->outcome == Ints{10, 20, 30, 40, 50});
}

TEST_CASE("the first chunk that fails fails its task; the others are not computed") {
  const auto task = make({1, 2, 3});
  const auto chunks = Task::cut(task, 1);
  CHECK(Task::fail(chunks[1], broken) == task);
  CHECK(task->outcome.error() == broken);
  CHECK(chunks[0]->is_dropped());
  CHECK(Task::fail(chunks[0], broken) == nullptr);
  CHECK(Task::succeed(chunks[2], {3}) == nullptr);
}
