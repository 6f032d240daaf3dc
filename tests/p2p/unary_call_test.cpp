#include "skep/p2p/unary_call.hpp"

#include <optional>
#include <string>

#include "skep/codec/rpc_messages.hpp"
#include "support/coroutine.hpp"
#include "support/hosts.hpp"

#include <doctest/doctest.h>

using namespace std::chrono_literals;
using skep::awaitable;
using skep::Bytes;
using skep::p2p::Host;
using skep::p2p::Payload;
using skep_test::eventually;
using skep_test::failure_of;
using skep_test::RawPeer;
namespace yamux = skep::p2p::yamux;

namespace {

/// Waits for the stream of a call and returns its first frame.
awaitable<RawPeer::Frame> call_frame(RawPeer& raw, std::string method) {
  for (;;) {
    auto frame = co_await raw.read();
    if (!frame) throw std::runtime_error("the connection has ended");
    if (skep::as_text(frame->payload).find(method) != std::string::npos) co_return *std::move(frame);
  }
}

Bytes response(skep::BytesView body, std::optional<std::size_t> claimed = {}) {
  Bytes out = *skep::codec::encode_unary_response_head({}, claimed.value_or(body.size()));
  skep::append(out, body);
  return out;
}

}  // namespace

CO_TEST_CASE("a call leaves as one frame: greeting, request and body; its answer may come as one frame too") {
  const auto executor = co_await asio::this_coro::executor;
  Host host = skep_test::listening_host(executor);
  auto raw = co_await RawPeer::dial(host);
  const bool there = co_await eventually(host, [&] { return !host.peers().empty(); });
  REQUIRE(there);
  const auto peer = host.peers().front();
  skep::Scope scope(executor);
  Bytes answer;
  scope.spawn([&]() -> awaitable<void> {
    answer = co_await host.call(peer, "Echo.rpc_say", skep::to_bytes("body"), {.timeout = 5s});
  });
  const auto frame = co_await call_frame(raw, "Echo.rpc_say");
  CHECK(frame.header.type == RawPeer::FrameType::data);
  CHECK(frame.header.flags == yamux::syn);  // and our half stays open
  const Bytes greeting = skep::p2p::protocol_greeting("Echo.rpc_say");
  REQUIRE(frame.payload.size() > greeting.size());
  CHECK(skep::BytesView(frame.payload).first(greeting.size()).size() == greeting.size());
  const auto message = skep::codec::read_frame(skep::BytesView(frame.payload).subspan(greeting.size()), 1 << 22);
  REQUIRE(message);
  CHECK(greeting.size() + message->size == frame.payload.size());
  const auto request = skep::codec::UnaryRequest::decode(message->body);
  REQUIRE(request);
  CHECK(request->proto == "Echo.rpc_say");
  CHECK(request->peer == skep::to_bytes(peer.bytes()));
  CHECK(request->data == skep::to_bytes("body"));
  CHECK(request->call_id != skep::codec::CallId{});

  Bytes out = greeting;
  skep::append(out, response(skep::as_bytes("answer")));
  co_await raw.write(RawPeer::FrameType::data, yamux::ack | yamux::fin, frame.header.stream, out);
  co_await scope.join();
  CHECK(answer == skep::to_bytes("answer"));
  const auto end = co_await raw.rest_of(frame.header.stream);  // our half is closed a moment later, by itself
  CHECK(end.closed);
  co_await skep_test::shut(host);
}

CO_TEST_CASE("what a hostile or clumsy callee answers") {
  const Bytes greeting = skep::p2p::protocol_greeting("Echo.rpc_say");
  const auto after_greeting = [&](Bytes rest) {
    Bytes out = greeting;
    skep::append(out, rest);
    return out;
  };
  struct Row {
    const char* what;
    Bytes answer;
    int flags;
    std::error_code code;
  };
  const Row rows[] = {
      {"closes without a word", {}, yamux::fin, skep::errc::closed},
      {"closes after the greeting", greeting, yamux::fin, skep::errc::closed},
      {"resets", {}, yamux::rst, skep::p2p::errc::stream_reset},
      {"speaks something else", skep::to_bytes("HTTP/1.1 400 Bad Request\r\n"), 0, skep::p2p::errc::negotiation_failed},
      {"answers na",
       [] {
         Bytes b;
         skep::p2p::append_multistream_token(b, skep::p2p::multistream_header);
         skep::p2p::append_multistream_token(b, "na");
         return b;
       }(),
       0, skep::p2p::errc::protocol_not_supported},
      {"echoes another name", skep::p2p::protocol_greeting("Echo.rpc_other"), 0, skep::p2p::errc::negotiation_failed},
      {"cuts the answer", after_greeting(response(skep::as_bytes("abc"), 10)), yamux::fin, skep::errc::closed},
      {"announces too much", after_greeting(Bytes{0xff, 0xff, 0xff, 0xff, 0x0f}), 0, skep::errc::limit_exceeded},
      {"answers with more than is wanted", after_greeting(response(Bytes(2000))), 0, skep::errc::limit_exceeded},
      {"answers garbage", after_greeting(Bytes{4, 0xff, 0xff, 0xff, 0xff}), 0, skep::errc::malformed},
      {"answers neither response nor error",
       after_greeting(Bytes{20, 0x0a, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x22, 0}), 0,
       skep::errc::malformed},
      {"answers with a request", after_greeting([] {
         Bytes out;
         skep::codec::append_frame(out, skep::codec::UnaryRequest{}.encode());
         return out;
       }()),
       0, skep::errc::malformed},
      {"answers with an error", after_greeting(skep::codec::encode_unary_error({}, "sorry")), 0, skep::errc::remote},
  };
  const auto executor = co_await asio::this_coro::executor;
  for (const auto& row : rows) {
    Host host = skep_test::listening_host(executor);
    auto raw = co_await RawPeer::dial(host);
    co_await eventually(host, [&] { return !host.peers().empty(); });
    skep_test::Failure failure;
    skep::Scope scope(executor);
    scope.spawn([&]() -> awaitable<void> {
      failure = co_await failure_of(
          host.call(host.peers().front(), "Echo.rpc_say", Payload(), {.timeout = 5s, .max_response = 1000}));
    });
    const auto frame = co_await call_frame(raw, "Echo.rpc_say");
    co_await raw.write(RawPeer::FrameType::data, yamux::ack, frame.header.stream, row.answer);
    if (row.flags != 0) co_await raw.write(RawPeer::FrameType::window_update, row.flags, frame.header.stream);
    co_await scope.join();
    CHECK_MESSAGE(failure.code == row.code, row.what);
    // the connection is none the worse
    CHECK_MESSAGE(host.peers().size() == 1, row.what);
    co_await skep_test::shut(host);
  }
}

CO_TEST_CASE("an answer in pieces of one byte, and bytes behind it") {
  const auto executor = co_await asio::this_coro::executor;
  Host host = skep_test::listening_host(executor);
  auto raw = co_await RawPeer::dial(host);
  co_await eventually(host, [&] { return !host.peers().empty(); });
  skep::Scope scope(executor);
  Bytes answer;
  scope.spawn([&]() -> awaitable<void> {
    answer = co_await host.call(host.peers().front(), "Echo.rpc_say", Payload(), {.timeout = 10s});
  });
  const auto frame = co_await call_frame(raw, "Echo.rpc_say");
  Bytes out = skep::p2p::protocol_greeting("Echo.rpc_say");
  skep::append(out, response(skep::as_bytes("answer")));
  skep::append(out, skep::to_bytes("more"));
  for (const std::uint8_t byte : out) {
    co_await raw.write(RawPeer::FrameType::data, 0, frame.header.stream, skep::BytesView(&byte, 1));
  }
  co_await scope.join();
  CHECK(answer == skep::to_bytes("answer"));
  co_await skep_test::shut(host);
}
