#include "skep/p2p/connection.hpp"

#include <functional>

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

namespace {

/// Reads until the connection ends.
awaitable<void> until_the_end(RawPeer& peer) {
  while (co_await peer.read()) {
  }
}
awaitable<void> answer_ping(RawPeer& peer, std::uint32_t number) {
  co_await peer.write(skep::to_bytes(skep::BytesView(
      yamux::FrameHeader{yamux::FrameType::ping, static_cast<std::uint16_t>(yamux::ack), 0, number}.encode())));
}

}  // namespace

CO_TEST_CASE("frames that the protocol forbids end their connection and no other") {
  auto host = listening_host(co_await asio::this_coro::executor);
  auto good = co_await RawPeer::dial(host);
  const std::vector<Bytes> rows{
      Bytes(12, 0xff),                            // an unknown version
      Bytes{0, 9, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0},  // an unknown type
      Bytes{0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0},  // stream id 0
      Bytes{0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1},  // go-away: protocol error
  };
  for (const auto& row : rows) {
    auto bad = co_await RawPeer::dial(host);
    co_await bad.write(row);
    co_await until_the_end(bad);
  }
  const bool one_left = co_await eventually(host, [&] { return host.peers().size() == 1; });
  CHECK(one_left);
  co_await good.write(yamux::FrameType::ping, yamux::syn, 0);
  const auto pong = co_await good.read_of(0);
  CHECK(pong);
  co_await shut(host);
}

CO_TEST_CASE("a window that is ignored ends the connection") {
  auto host = listening_host(co_await asio::this_coro::executor);
  host.handle_stream("Echo.rpc_deaf",
                     [&host](Host::Stream) -> awaitable<void> { co_await host.sleep_until(host.steady_now() + 1h); });
  auto peer = co_await RawPeer::dial(host);
  co_await peer.write(yamux::FrameType::data, yamux::syn, 1, skep::p2p::protocol_greeting("Echo.rpc_deaf"));
  for (int i = 0; i < 5; ++i) co_await peer.write(yamux::FrameType::data, 0, 1, Bytes(65'000));
  co_await until_the_end(peer);
  const bool gone = co_await eventually(host, [&] { return host.peers().empty(); });
  CHECK(gone);
  co_await shut(host);
}

CO_TEST_CASE("a silent peer is asked for a sign of life, and dropped when it gives none") {
  auto host = listening_host(co_await asio::this_coro::executor, {.limits = {.keepalive = 60ms, .pong_timeout = 60ms}});
  auto alive = co_await RawPeer::dial(host);
  auto dead = co_await RawPeer::dial(host);
  for (int answered = 0; answered < 5;) {
    const auto frame = co_await alive.read();
    REQUIRE(frame);
    if (frame->header.type != yamux::FrameType::ping) continue;
    co_await answer_ping(alive, frame->header.length);
    ++answered;
  }
  const bool one = co_await eventually(host, [&] { return host.peers().size() == 1; });
  CHECK(one);
  co_await until_the_end(dead);
  co_await shut(host);
}

CO_TEST_CASE("a stream that the peer never closes is reset after some rounds of keepalive") {
  auto host = listening_host(co_await asio::this_coro::executor, {.limits = {.keepalive = 30ms, .pong_timeout = 2s}});
  auto peer = co_await RawPeer::dial(host);
  co_await peer.write(yamux::FrameType::data, yamux::syn, 1, skep::p2p::protocol_greeting("/ipfs/id/1.0.0"));
  const auto rest = co_await peer.rest_of(1);
  CHECK(rest.closed);  // answered and closed; the other half stays open
  for (;;) {
    const auto frame = co_await peer.read();
    REQUIRE(frame);
    if (frame->header.type == yamux::FrameType::ping) co_await answer_ping(peer, frame->header.length);
    if (frame->header.stream == 1 && frame->header.has(yamux::rst)) break;
  }
  co_await shut(host);
}

CO_TEST_CASE("more streams than a peer may have are reset") {
  auto host = listening_host(co_await asio::this_coro::executor, {.limits = {.streams = {.max_inbound = 3}}});
  auto peer = co_await RawPeer::dial(host);
  for (std::uint32_t id = 1; id <= 9; id += 2) {
    co_await peer.write(yamux::FrameType::window_update, yamux::syn, id);
  }
  const auto rest = co_await peer.rest_of(7);
  CHECK(rest.reset);
  co_await shut(host);
}

CO_TEST_CASE("a frame as long as the window, as js sends it") {
  auto host = listening_host(co_await asio::this_coro::executor);
  std::size_t total = 0;
  host.handle_stream("Echo.rpc_sum", [&total](Host::Stream stream) -> awaitable<void> {
    while (auto message = co_await stream.receive()) total += message->size();
  });
  auto peer = co_await RawPeer::dial(host);
  Bytes input = skep::p2p::protocol_greeting("Echo.rpc_sum");
  const std::size_t body = yamux::initial_window - input.size() - 9;
  input.push_back(0);
  skep::append_be<std::uint64_t>(input, body);
  input.resize(yamux::initial_window);
  co_await peer.write(yamux::FrameType::data, yamux::syn, 1, input);
  co_await peer.write(yamux::FrameType::data, 0, 1, Bytes{1, 0, 0, 0, 0, 0, 0, 0, 0});
  const auto rest = co_await peer.rest_of(1);
  CHECK(rest.closed);
  CHECK(total == body);
  co_await shut(host);
}

CO_TEST_CASE(
    "a peer whose requests are not what they have to be is listened to at the pace of its faults, others are not") {
  const skep::p2p::HostLimits limits{.max_stream_message = 1000,
                                     .standing = {.faults = 0, .forgiven_per_second = 20, .longest_pause = 10s}};
  auto host = listening_host(co_await asio::this_coro::executor, {.limits = limits});
  host.handle("Echo.rpc_say", echo);
  host.handle("Echo.rpc_wrong", [](skep::p2p::Request) -> awaitable<skep::p2p::Payload> {
    throw skep::Error(skep::errc::invalid_argument, "not like this");
    co_return skep::p2p::Payload();
  });
  host.handle_stream("Echo.rpc_all", [](Host::Stream stream) -> awaitable<void> {
    while (co_await stream.receive()) {
    }
    throw skep::Error(skep::errc::invalid_argument, "not like this");
  });
  const auto wrong_call = [&](Host& client) -> awaitable<void> {
    const auto failed = co_await failure_of(client.call(host.self(), "Echo.rpc_wrong", Bytes(10)));
    CHECK(failed.words == "skep: not like this");
  };
  const auto stream_of = [&](Host& client, std::size_t size) -> awaitable<void> {
    auto stream = co_await client.open(host.self(), "Echo.rpc_all");
    co_await stream.send(Bytes(size));
    const auto failed = co_await failure_of([](auto& of) -> awaitable<void> {
      co_await of.end_of_input();
      co_await of.receive();
    }(stream));
    CHECK(failed.code);
  };
  const auto wrong_stream = [&](Host& client) { return stream_of(client, 10); };
  const auto long_message = [&](Host& client) { return stream_of(client, 1001); };
  struct Row {
    const char* what;
    std::function<awaitable<void>(Host&)> ask;
  };
  Host good(co_await asio::this_coro::executor);
  co_await good.connect(host.addresses().front());
  for (const Row& row : {Row{"refused calls", wrong_call}, Row{"refused streams", wrong_stream},
                         Row{"messages above the limit", long_message}}) {
    CAPTURE(row.what);
    Host client(co_await asio::this_coro::executor);
    co_await client.connect(host.addresses().front());
    const auto begin = client.steady_now();
    for (int i = 0; i < 5; ++i) co_await row.ask(client);
    // 5 faults take 4 of their pauses; what was under way before the first of them is not held up
    CHECK(client.steady_now() - begin > 100ms);
    const auto answer = co_await good.call(host.self(), "Echo.rpc_say", Bytes(10));
    CHECK(answer == Bytes(10));
    co_await shut(client);
  }
  co_await shut(good);
  co_await shut(host);  // also while it does not listen to somebody
}
