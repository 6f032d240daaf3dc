#include "skep/p2p/identify_service.hpp"

#include "support/hosts.hpp"
// doctest last
#include "support/coroutine.hpp"

using namespace skep_test;
namespace yamux = skep::p2p::yamux;

CO_TEST_CASE("who asks is told addresses and protocols, a handler's name among them") {
  auto server = listening_host(co_await asio::this_coro::executor);
  server.handle("Echo.rpc_say", echo);
  auto peer = co_await RawPeer::dial(server);
  const Bytes greeting = skep::p2p::protocol_greeting(skep::p2p::identify_protocol);
  co_await peer.write(yamux::FrameType::data, yamux::syn, 1, greeting);
  co_await peer.write(yamux::FrameType::window_update, yamux::fin, 1);
  const auto rest = co_await peer.rest_of(1);
  CHECK(rest.closed);
  REQUIRE(rest.data.size() > greeting.size());

  skep::p2p::IdentifyReader reader;
  REQUIRE(reader.feed(BytesView(rest.data).subspan(greeting.size())));
  const auto said = std::move(reader).finish(server.self(), server.addresses().front().without_peer());
  REQUIRE(said);
  const auto has = [&](std::string_view name) {
    return std::find(said->protocols.begin(), said->protocols.end(), name) != said->protocols.end();
  };
  CHECK(has("Echo.rpc_say"));
  CHECK(has("/ipfs/kad/1.0.0"));
  CHECK(has("/ipfs/ping/1.0.0"));
  co_await shut(server);
}

CO_TEST_CASE("a handler that is added later is pushed to those who are connected") {
  auto server = listening_host(co_await asio::this_coro::executor);
  auto peer = co_await RawPeer::dial(server);
  // the server asks us first, on stream 2; we take pushes, so refuse only the question
  const auto question = co_await peer.read_of(2);
  REQUIRE(question);
  co_await peer.write(yamux::FrameType::window_update, yamux::rst, 2);
  server.handle("Echo.rpc_late", echo);
  Bytes heard;
  const std::string name = "Echo.rpc_late";
  for (bool found = false; !found;) {
    const auto frame = co_await peer.read();
    REQUIRE(frame);
    skep::append(heard, frame->payload);
    found = skep::as_text(heard).find(name) != std::string_view::npos;
  }
  co_await shut(server);
}
