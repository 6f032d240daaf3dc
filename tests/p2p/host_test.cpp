#include "skep/p2p/host.hpp"

#include <asio/io_context.hpp>
#include <memory>
#include <string>

#include "skep/async/when_all.hpp"
#include "support/coroutine.hpp"

#include <doctest/doctest.h>

using skep::awaitable;
using skep::Bytes;
using skep::p2p::Host;
using skep::p2p::Payload;
using skep::p2p::Request;
using namespace std::chrono_literals;

namespace {

Host make_host(const skep::Executor& executor) { return Host(executor, {.listen = {"/ip4/127.0.0.1/tcp/0"}}); }

awaitable<Payload> echo(Request request) { co_return std::move(request.body); }

}  // namespace

CO_TEST_CASE("two hosts: echo") {
  const auto executor = co_await asio::this_coro::executor;
  Host server = make_host(executor);
  Host client(executor);
  server.handle("Echo.rpc_say", echo);
  const auto peer = co_await client.connect(server.addresses().front());
  CHECK(peer == server.self());
  for (int i = 0; i < 100; ++i) {
    const auto answer = co_await client.call(peer, "Echo.rpc_say", skep::to_bytes("hello " + std::to_string(i)));
    CHECK(answer == skep::to_bytes("hello " + std::to_string(i)));
  }
  // and back over the same connection
  client.handle("Echo.rpc_back", echo);
  const auto back = co_await server.call(client.self(), "Echo.rpc_back", skep::to_bytes("back"));
  CHECK(back == skep::to_bytes("back"));
  server.close();
  client.close();
  co_await server.join();
  co_await client.join();
}

CO_TEST_CASE("two hosts: 4 MiB both ways") {
  const auto executor = co_await asio::this_coro::executor;
  Host server = make_host(executor);
  Host client(executor);
  server.handle("Echo.rpc_say", echo);
  const auto peer = co_await client.connect(server.addresses().front());
  Bytes body(4 * 1024 * 1024 - 200);
  skep::Random(7).fill(body);
  const auto answer = co_await client.call(peer, "Echo.rpc_say", body);
  CHECK(answer == body);
}
