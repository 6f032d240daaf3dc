#include "skep/moe/pool_outbox.hpp"

#include <asio/io_context.hpp>
#include <atomic>
#include <functional>
#include <stdexcept>
#include <string>

#include <doctest/doctest.h>

namespace {
// What a task is to an outbox; its caller's coroutine is a function.
struct Caller {
  std::function<void()> run;
  void resume_one() { run(); }
};
struct Task {
  skep::Executor executor;
  Caller* done;
  std::atomic<bool> abandoned = false;
};
using Outbox = skep::moe::detail::PoolOutbox<Task>;
using Tasks = std::vector<std::shared_ptr<Task>>;

struct Fixture {
  std::string log;
  std::vector<std::unique_ptr<Caller>> callers;
  std::shared_ptr<Outbox> outbox = std::make_shared<Outbox>();

  std::shared_ptr<Task> task(asio::io_context& io, char name, bool throws = false) {
    callers.push_back(std::make_unique<Caller>([this, name, throws] {
      log += name;
      if (throws) throw std::runtime_error("mine");
    }));
    return std::make_shared<Task>(io.get_executor(), callers.back().get());
  }
};
}  // namespace

TEST_CASE("one message for all that gathers before the executor looks, in its order") {
  Fixture f;
  asio::io_context io;
  f.outbox->send({f.task(io, 'a'), f.task(io, 'b')});
  f.outbox->send({f.task(io, 'c')});
  CHECK(f.log.empty());
  CHECK(io.poll() == 1);
  CHECK(f.log == "abc");
  f.outbox->send({f.task(io, 'd')});
  io.restart();
  CHECK(io.poll() == 1);
  CHECK(f.log == "abcd");
}

TEST_CASE("each executor gets the tasks of its callers") {
  Fixture f;
  asio::io_context one, other;
  f.outbox->send({f.task(one, 'a'), f.task(other, 'x'), f.task(one, 'b')});
  one.poll();
  CHECK(f.log == "ab");
  other.poll();
  CHECK(f.log == "abx");
}

TEST_CASE("callers that have gone are not looked for, nor is their executor") {
  Fixture f;
  asio::io_context io;
  const auto gone = f.task(io, 'a');
  gone->abandoned = true;
  gone->done = nullptr;
  f.outbox->send({gone});
  CHECK(io.poll() == 0);
  f.outbox->send({gone, f.task(io, 'b')});
  io.restart();
  io.poll();
  CHECK(f.log == "b");
}

TEST_CASE("what a caller throws leaves the executor's run; the others get theirs after it") {
  Fixture f;
  asio::io_context io;
  f.outbox->send({f.task(io, 'a'), f.task(io, 'b', true), f.task(io, 'c')});
  CHECK_THROWS_WITH(io.poll(), "mine");
  io.poll();
  CHECK(f.log == "abc");
}

TEST_CASE("a message that goes with its executor holds nothing up") {
  Fixture f;
  auto io = std::make_unique<asio::io_context>();
  f.outbox->send({f.task(*io, 'a')});
  io.reset();
  io = std::make_unique<asio::io_context>();  // perhaps at the same address
  f.outbox->send({f.task(*io, 'b')});
  CHECK(io->poll() == 1);
  CHECK(f.log == "b");
}
