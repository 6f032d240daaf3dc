#include "skep/p2p/turn.hpp"

#include <asio/io_context.hpp>
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
