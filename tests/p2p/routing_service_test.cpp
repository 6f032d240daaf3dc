#include "skep/p2p/routing_service.hpp"

#include "skep/codec/frame.hpp"
#include "skep/codec/kad_messages.hpp"
#include "support/hosts.hpp"
// doctest last
#include "support/coroutine.hpp"

using namespace skep_test;
namespace yamux = skep::p2p::yamux;

CO_TEST_CASE("asked for itself, a host answers with itself and its addresses: so it enters routing tables") {
  auto server = listening_host(co_await asio::this_coro::executor);
  auto peer = co_await RawPeer::dial(server);
  skep::codec::KadMessage question;
  question.type = skep::codec::KadType::find_node;
  question.key = skep::to_bytes(server.self().bytes());
  question.cluster_level = 1;
  Bytes out = skep::p2p::protocol_greeting(skep::p2p::routing_protocol);
  const std::size_t greeting = out.size();
  skep::codec::append_frame(out, question.encode());
  co_await peer.write(yamux::FrameType::data, yamux::syn, 1, out);
  co_await peer.write(yamux::FrameType::window_update, yamux::fin, 1);
  const auto rest = co_await peer.rest_of(1);
  REQUIRE(rest.data.size() > greeting);
  const auto frame = skep::codec::read_frame(BytesView(rest.data).subspan(greeting), 4 << 20);
  REQUIRE(frame);
  const auto answer = skep::codec::KadMessage::decode(frame->body);
  REQUIRE(answer);
  REQUIRE(answer->closer_peers.size() == 1);
  CHECK(answer->closer_peers[0].id == skep::to_bytes(server.self().bytes()));
  CHECK(answer->closer_peers[0].addrs.size() == 1);
  co_await shut(server);
}

CO_TEST_CASE("a host that does not serve routing refuses the protocol") {
  HostOptions options;
  options.serve_routing = false;
  auto server = listening_host(co_await asio::this_coro::executor, options);
  auto peer = co_await RawPeer::dial(server);
  Bytes out = skep::p2p::protocol_greeting(skep::p2p::routing_protocol);
  co_await peer.write(yamux::FrameType::data, yamux::syn, 1, out);
  Bytes heard;
  while (skep::as_text(heard).find("na\n") == std::string_view::npos) {
    const auto frame = co_await peer.read_of(1);
    REQUIRE(frame);
    skep::append(heard, frame->payload);
  }
  co_await shut(server);
}
