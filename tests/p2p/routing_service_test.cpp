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

CO_TEST_CASE("what is no question is reset, and so is an idle stream") {
  auto host = listening_host(co_await asio::this_coro::executor, {.limits = {.routing_idle_timeout = 60ms}});
  auto peer = co_await RawPeer::dial(host);
  const auto framed = [](const skep::codec::KadMessage& message) {
    Bytes out;
    skep::codec::append_frame(out, message.encode());
    return out;
  };
  const std::vector<Bytes> rows{
      framed({.type = skep::codec::KadType::put_value, .key = Bytes{1}, .closer_peers = {}}),
      framed({.type = skep::codec::KadType::find_node, .key = {}, .closer_peers = {}}),
      Bytes{3, 0xff, 0xff, 0xff},
      Bytes{0xff, 0xff, 0xff, 0x7f},
      Bytes{},
  };
  std::uint32_t id = 1;
  for (const auto& row : rows) {
    Bytes input = skep::p2p::protocol_greeting("/ipfs/kad/1.0.0");
    skep::append(input, row);
    co_await peer.write(yamux::FrameType::data, yamux::syn, id, input);
    const auto rest = co_await peer.rest_of(id);
    CHECK_MESSAGE(rest.reset, id);
    id += 2;
  }
  co_await shut(host);
}

CO_TEST_CASE("a peer is found through a chain of neighbours, each of whom knows only the next") {
  const auto executor = co_await asio::this_coro::executor;
  std::vector<Host> chain;
  for (int i = 0; i < 5; ++i) chain.push_back(listening_host(executor));
  for (std::size_t i = 0; i + 1 < chain.size(); ++i) co_await chain[i].connect(chain[i + 1].addresses().front());
  chain.back().handle("Echo.rpc_say", echo);
  Bytes answer;
  std::string words;
  const auto end = chain[0].steady_now() + 20s;
  while (answer.empty() && chain[0].steady_now() < end) {  // until identify has gone along the chain
    try {
      answer = co_await chain[0].call(chain.back().self(), "Echo.rpc_say", skep::to_bytes("found"));
    } catch (const skep::Error& error) {
      words = error.what();
    }
  }
  CHECK_MESSAGE(answer == skep::to_bytes("found"), words);
  for (auto& host : chain) co_await shut(host);
}

CO_TEST_CASE("nobody knows: an error, soon, also when a neighbour never answers") {
  auto host = listening_host(co_await asio::this_coro::executor, {.limits = {.routing_timeout = 100ms}});
  auto mute = co_await RawPeer::dial(host);  // not identified, so it may be asked; it says nothing
  const bool there = co_await eventually(host, [&] { return !host.peers().empty(); });
  CHECK(there);
  const auto begin = host.steady_now();
  const auto failure =
      co_await failure_of(host.call(skep::p2p::Identity::generate().id(), "Echo.rpc_say", skep::p2p::Payload()));
  CHECK(failure.code == skep::errc::unreachable);
  CHECK(failure.words.find("no peer knew one") != std::string::npos);
  CHECK(host.steady_now() - begin < 5s);
  co_await shut(host);
}
