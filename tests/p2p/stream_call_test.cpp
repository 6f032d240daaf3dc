#include "skep/p2p/stream_call.hpp"

#include <memory>
#include <string>

#include "skep/async/scope.hpp"
#include "support/coroutine.hpp"
#include "support/hosts.hpp"

#include <doctest/doctest.h>

using namespace std::chrono_literals;
using skep::awaitable;
using skep::Bytes;
using skep::p2p::Host;
using skep::p2p::Payload;
using skep_test::connected_hosts;
using skep_test::failure_of;
using skep_test::shut;

CO_TEST_CASE("one sender and one receiver at a time; a second is told so") {
  auto [server, client] = co_await connected_hosts();
  server.handle_stream("Echo.rpc_wait", [&server](Host::Stream) -> awaitable<void> {
    co_await server.sleep_until(server.steady_now() + 1h);
  });
  auto stream = co_await client.open(server.self(), "Echo.rpc_wait");
  skep::Scope scope(client.executor());
  scope.spawn([&stream]() -> awaitable<void> { co_await stream.receive(); });
  const auto second = co_await failure_of(stream.receive());
  CHECK(second.code == skep::errc::invalid_argument);
  CHECK(second.words.find("twice at a time") != std::string::npos);
  scope.spawn([&stream]() -> awaitable<void> { co_await stream.send(Bytes(1'000'000)); });
  const auto other = co_await failure_of(stream.send(Bytes(1)));
  CHECK(other.code == skep::errc::invalid_argument);
  stream.reset();
  co_await scope.join();
  co_await shut({server, client});
}

CO_TEST_CASE("a storage that was lent is free when send returns, or fails") {
  auto [server, client] = co_await connected_hosts();
  server.handle_stream("Echo.rpc_wait", [&server](Host::Stream) -> awaitable<void> {
    co_await server.sleep_until(server.steady_now() + 1h);
  });
  auto storage = std::make_shared<Bytes>(1'000'000);
  const auto message = [&] {
    Payload payload;
    payload.append(*storage, storage);
    return payload;
  };
  auto stream = co_await client.open(server.self(), "Echo.rpc_wait", {.timeout = 50ms});
  const auto stuck = co_await failure_of(stream.send(message()));
  CHECK(stuck.code == skep::errc::timed_out);
  CHECK(storage.use_count() == 1);
  auto cancelled = co_await client.open(server.self(), "Echo.rpc_wait");
  skep::Scope scope(client.executor());
  scope.spawn([&]() -> awaitable<void> { co_await cancelled.send(message()); });
  CHECK(storage.use_count() == 2);
  scope.cancel();
  co_await scope.join();
  CHECK(storage.use_count() == 1);
  storage->assign(10, 1);
  auto small = co_await client.open(server.self(), "Echo.rpc_wait");
  co_await small.send(message());
  CHECK(storage.use_count() == 1);
  co_await shut({server, client});
}

CO_TEST_CASE("messages that arrived before a failure are delivered before it") {
  auto [server, client] = co_await connected_hosts();
  server.handle_stream("Echo.rpc_some", [](Host::Stream stream) -> awaitable<void> {
    for (std::size_t i = 0; i < 3; ++i) co_await stream.send(Bytes(i));
    co_await stream.receive();
    throw std::runtime_error("enough");
  });
  auto stream = co_await client.open(server.self(), "Echo.rpc_some");
  co_await stream.end_of_input();
  co_await client.ping(server.self());  // everything has arrived, and nobody has received it
  for (std::size_t i = 0; i < 3; ++i) {
    const auto message = co_await stream.receive();
    CHECK(message == Bytes(i));
  }
  const auto failure = co_await failure_of(stream.receive());
  CHECK(failure.code == skep::errc::remote);
  CHECK(failure.words == "enough");
  co_await shut({server, client});
}
