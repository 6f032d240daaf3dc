// libp2p alone: two hosts in one program, a handler and a call, one of them by streaming.
#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>
#include <exception>
#include <iostream>
#include <skep/p2p/host.hpp>

namespace {

using namespace std::chrono_literals;

skep::awaitable<void> talk(skep::p2p::Host server, skep::p2p::Host client) {
  server.handle("Echo.rpc_say", [](skep::p2p::Request request) -> skep::awaitable<skep::p2p::Payload> {
    co_return std::move(request.body);
  });
  server.handle_stream("Echo.rpc_repeat", [](skep::p2p::Host::Stream stream) -> skep::awaitable<void> {
    while (auto message = co_await stream.receive()) co_await stream.send(std::move(*message));
  });

  const auto peer = co_await client.connect(server.addresses().at(0));
  const auto reply = co_await client.call(peer, "Echo.rpc_say", skep::to_bytes("hello"), {.timeout = 1s});
  std::cout << "unary: " << skep::as_text(reply) << '\n';

  auto stream = co_await client.open(peer, "Echo.rpc_repeat", {.timeout = 1s});
  for (const auto* word : {"one", "two", "three"}) {
    co_await stream.send(skep::to_bytes(word));
    const auto answer = co_await stream.receive();
    std::cout << "stream: " << (answer ? skep::as_text(*answer) : "ended") << '\n';
  }
  co_await stream.end_of_input();

  client.close();
  server.close();
  co_await client.join();
  co_await server.join();
}

}  // namespace

int main() {
  asio::io_context io;
  int status = 0;
  skep::p2p::Host server(io, {.listen = {"/ip4/127.0.0.1/tcp/0"}}), client(io);
  asio::co_spawn(io, talk(server, client), [&](std::exception_ptr thrown) {
    try {
      if (thrown) std::rethrow_exception(thrown);
    } catch (const std::exception& error) {
      std::cerr << "echo: " << error.what() << '\n';
      status = 1;
    }
  });
  io.run();
  return status;
}
