#include "skep/p2p/ping_service.hpp"

#include "support/hosts.hpp"
// doctest last
#include "support/coroutine.hpp"

using namespace skep_test;
namespace yamux = skep::p2p::yamux;

CO_TEST_CASE("a ping takes some time, and the peer may be asked again") {
  auto pair = co_await connected_hosts();
  for (int i = 0; i < 3; ++i) {
    const auto took = co_await pair.client.ping(pair.server.self(), {.timeout = 5s});
    CHECK(took > skep::Duration::zero());
  }
  co_await shut(pair);
}

CO_TEST_CASE("bytes come back 32 at a time, and the stream ends when the asker closes") {
  auto server = listening_host(co_await asio::this_coro::executor);
  auto peer = co_await RawPeer::dial(server);
  const Bytes greeting = skep::p2p::protocol_greeting(skep::p2p::ping_protocol);
  Bytes out = greeting;
  out.resize(out.size() + 64, 9);
  co_await peer.write(yamux::FrameType::data, yamux::syn, 1, out);
  co_await peer.write(yamux::FrameType::data, 0, 1, Bytes(31, 8));  // never whole, never answered
  co_await peer.write(yamux::FrameType::window_update, yamux::fin, 1);
  const auto rest = co_await peer.rest_of(1);
  CHECK(rest.closed);
  CHECK(rest.data == out);
  co_await shut(server);
}
