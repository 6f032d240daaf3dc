#include "skep/p2p/turn.hpp"

#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>

#include "support/coroutine.hpp"

using namespace skep::p2p;

namespace {

struct Note : Runnable {
  Note(std::string& in, char what) : log(in), word(what) {}
  void run() override { log.push_back(word); }
  std::string& log;
  char word;
};

}  // namespace

TEST_CASE("what a wake-up causes runs in its turn: those who wait first, then the writers, once each") {
  asio::io_context io;
  std::string log;
  const auto turn = std::make_shared<Turn>(io.get_executor());
  turn->run([&] {
    turn->write_later(std::make_shared<Note>(log, 'w'));
    turn->later(std::make_shared<Note>(log, 'a'));
    turn->later(std::make_shared<Note>(log, 'b'));
    CHECK(log.empty());
  });
  CHECK(log == "abw");
}

TEST_CASE("outside a wake-up one post starts the turn") {
  asio::io_context io;
  std::string log;
  const auto turn = std::make_shared<Turn>(io.get_executor());
  turn->later(std::make_shared<Note>(log, 'a'));
  turn->write_later(std::make_shared<Note>(log, 'w'));
  CHECK(log.empty());
  CHECK(io.run() == 1);
  CHECK(log == "aw");
}

CO_TEST_CASE("a waiter sleeps until it is run") {
  const auto executor = co_await asio::this_coro::executor;
  Waiter waiter(executor);
  asio::post(executor, [&waiter] {
    CHECK(waiter.waiting());
    waiter.run();
  });
  co_await waiter.wait([] {});
  CHECK_FALSE(waiter.waiting());
}

TEST_CASE("a waiter that sleeps when its context ends is destroyed with it") {
  auto alive = std::make_shared<int>(1);
  {
    asio::io_context io;
    const auto waiter = std::make_shared<Waiter>(io.get_executor());
    const auto sleep = [waiter, alive]() -> skep::awaitable<void> { co_await waiter->wait([] {}); };
    asio::co_spawn(io, sleep, [](std::exception_ptr) {});
    io.poll();
    CHECK(waiter->waiting());
  }
  CHECK(alive.use_count() == 1);
}

namespace {

struct Deed final : Runnable {
  explicit Deed(std::function<void()> body) : what(std::move(body)) {}
  void run() override { what(); }
  std::function<void()> what;
};
std::shared_ptr<Deed> deed(std::function<void()> body) { return std::make_shared<Deed>(std::move(body)); }

}  // namespace

TEST_CASE("turns do not nest, and an exception leaves the rest for the next") {
  asio::io_context io;
  const auto turn = std::make_shared<Turn>(io.get_executor());
  std::string said;
  turn->run([&] {
    turn->later(deed([&] { said += "a"; }));
    turn->run([&] { turn->later(deed([&] { said += "b"; })); });
    CHECK(said.empty());
  });
  CHECK(said == "ab");
  turn->later(deed([&] {
    turn->later(deed([&] { said += "c"; }));
    throw std::runtime_error("stop");
  }));
  CHECK_THROWS_AS(io.run(), std::runtime_error);
  CHECK(said == "ab");
  io.run();
  CHECK(said == "abc");
}

TEST_CASE("those behind one who throws run in the next turn, before what was added meanwhile") {
  asio::io_context io;
  const auto turn = std::make_shared<Turn>(io.get_executor());
  std::string said;
  turn->later(deed([&] {
    turn->later(deed([&] { said += "c"; }));
    throw std::runtime_error("stop");
  }));
  turn->later(deed([&] { said += "a"; }));
  turn->later(deed([&] { said += "b"; }));
  CHECK_THROWS_AS(io.run(), std::runtime_error);
  CHECK(said.empty());
  io.run();
  CHECK(said == "abc");
}

TEST_CASE("what waits for a turn that never comes is let go with the context") {
  const auto token = std::make_shared<int>(1);
  {
    asio::io_context io;
    const auto turn = std::make_shared<Turn>(io.get_executor());
    turn->later(deed([token, turn] {}));  // a cycle
    CHECK(token.use_count() == 2);
  }
  CHECK(token.use_count() == 1);
}

TEST_CASE("cancelling a wait calls what was given to it") {
  asio::io_context io;
  Waiter waiter(io.get_executor());
  asio::cancellation_signal signal;
  int cancelled = 0;
  asio::co_spawn(
      io,
      [&]() -> skep::awaitable<void> {
        co_await waiter.wait([&] {
          ++cancelled;
          waiter.run();
        });
      },
      asio::bind_cancellation_slot(signal.slot(), [](std::exception_ptr) {}));
  io.poll();
  signal.emit(asio::cancellation_type::terminal);
  CHECK(cancelled == 1);
  CHECK_FALSE(waiter.waiting());
  io.restart();
  io.poll();
}
