#include "skep/p2p/connection.hpp"

#include "support/hosts.hpp"
// doctest last
#include "support/coroutine.hpp"

using namespace skep_test;
namespace yamux = skep::p2p::yamux;

CO_TEST_CASE("a ping of yamux is answered with its number") {
  auto server = listening_host(co_await asio::this_coro::executor);
  auto peer = co_await RawPeer::dial(server);
  co_await peer.write(skep::to_bytes(skep::BytesView(
      yamux::FrameHeader{yamux::FrameType::ping, static_cast<std::uint16_t>(yamux::syn), 0, 77}.encode())));
  for (;;) {
    const auto frame = co_await peer.read();
    REQUIRE(frame);
    if (frame->header.type != yamux::FrameType::ping || !frame->header.has(yamux::ack)) continue;
    CHECK(frame->header.length == 77);
    break;
  }
  co_await shut(server);
}

CO_TEST_CASE("a record that does not authenticate ends the connection") {
  auto server = listening_host(co_await asio::this_coro::executor);
  auto peer = co_await RawPeer::dial(server);
  Bytes garbage(34, 0x55);
  garbage[0] = 0;
  garbage[1] = 32;
  co_await asio::async_write(peer.socket(), asio::buffer(garbage), skep::use_awaitable);
  while (co_await peer.read()) {
  }
  const bool gone = co_await eventually(server, [&] { return server.peers().empty(); });
  CHECK(gone);
  co_await shut(server);
}

CO_TEST_CASE("a stream with the wrong parity ends the connection") {
  auto server = listening_host(co_await asio::this_coro::executor);
  auto peer = co_await RawPeer::dial(server);
  co_await peer.write(yamux::FrameType::window_update, yamux::syn, 2);  // a dialer's streams are odd
  while (co_await peer.read()) {
  }
  const bool gone = co_await eventually(server, [&] { return server.peers().empty(); });
  CHECK(gone);
  co_await shut(server);
}
