#include "skep/moe/client/blocking.hpp"

#include <optional>
#include <thread>

#include <doctest/doctest.h>

using namespace skep;

TEST_CASE("a blocking call runs on the DHT's thread and brings its value or error back") {
  dht::DHT dht({.client_mode = true});
  const auto answer = [](int value) -> awaitable<int> {
    CHECK(on_io_thread());
    if (value < 0) throw Error(errc::invalid_argument, "negative");
    co_return value + 1;
  };
  CHECK(moe::detail::block_on(dht, answer(41)) == 42);
  CHECK_THROWS_AS(moe::detail::block_on(dht, answer(-1)), Error);
  CHECK(moe::detail::host_of(dht).self() == dht.peer_id());
}

TEST_CASE("after the DHT was closed it says so") {
  dht::DHT dht({.client_mode = true});
  dht.shutdown();
  try {
    moe::detail::block_on(dht, []() -> awaitable<void> { co_return; }());
    FAIL("nothing was thrown");
  } catch (const Error& error) {
    CHECK(std::string(error.what()) == "skep: the DHT is closed");
  }
}

TEST_CASE("a thread that serves others must not block") {
  dht::DHT dht({.client_mode = true});
  std::error_code code;
  dht.run_coroutine([&](auto) -> awaitable<void> {
    try {
      moe::detail::block_on(dht, []() -> awaitable<void> { co_return; }());
    } catch (const Error& error) {
      code = error.code();
    }
    co_return;
  });
  CHECK(code == make_error_code(errc::wrong_thread));
}

TEST_CASE("a host alone is a network, too: its owner runs the thread") {
  asio::io_context io;
  auto work = asio::make_work_guard(io);
  std::optional<p2p::Host> host(std::in_place, io);
  const p2p::PeerId self = host->self();
  std::optional<moe::CallNetwork> network(*host);
  CHECK_FALSE(network->node());
  std::thread thread([&] { io.run(); });
  auto asked = [](moe::CallNetwork by) -> awaitable<p2p::PeerId> {
    CHECK_THROWS_AS(by.require_may_block("a call"), Error);
    co_return by.host().self();
  };
  CHECK(network->block_on(asked(*network), 10s) == self);
  CHECK_NOTHROW(network->require_may_block("a call"));
  network->block_on(
      [](p2p::Host last) -> awaitable<void> {
        last.close();
        co_await last.join();
      }(*host),
      10s);
  network.reset();  // lets go of the host on its thread
  work.reset();
  thread.join();
  host.reset();
}
