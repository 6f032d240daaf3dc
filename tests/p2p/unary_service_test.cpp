#include "skep/p2p/unary_service.hpp"

#include <optional>
#include <string>

#include "skep/codec/rpc_messages.hpp"
#include "support/coroutine.hpp"
#include "support/hosts.hpp"

#include <doctest/doctest.h>

using namespace std::chrono_literals;
using skep::awaitable;
using skep::Bytes;
using skep::BytesView;
using skep::p2p::Host;
using skep::p2p::Payload;
using skep::p2p::Request;
using skep_test::echo;
using skep_test::eventually;
using skep_test::RawPeer;
namespace yamux = skep::p2p::yamux;

namespace {

Bytes framed(const skep::codec::UnaryRequest& request) {
  Bytes out;
  skep::codec::append_frame(out, request.encode());
  return out;
}
Bytes request(std::string body) {
  return framed({.call_id = {1, 2, 3}, .peer = {}, .proto = "Echo.rpc_say", .data = skep::to_bytes(body)});
}
Bytes greeted(Bytes rest) {
  Bytes out = skep::p2p::protocol_greeting("Echo.rpc_say");
  skep::append(out, rest);
  return out;
}
/// What a stream of answers holds: the greeting and one message.
std::optional<skep::codec::UnaryResponse> answer_of(const Bytes& data) {
  const Bytes greeting = skep::p2p::protocol_greeting("Echo.rpc_say");
  if (data.size() <= greeting.size()) return std::nullopt;
  const auto frame = skep::codec::read_frame(BytesView(data).subspan(greeting.size()), 1 << 22);
  if (!frame || greeting.size() + frame->size != data.size()) return std::nullopt;
  auto answer = skep::codec::UnaryResponse::decode(frame->body);
  if (!answer) return std::nullopt;
  return *std::move(answer);
}

}  // namespace

CO_TEST_CASE("a call in one frame is answered in one frame, greeting and answer, and ended in the next") {
  const auto executor = co_await asio::this_coro::executor;
  Host host = skep_test::listening_host(executor);
  host.handle("Echo.rpc_say", echo);
  auto raw = co_await RawPeer::dial(host);
  co_await raw.write(RawPeer::FrameType::data, yamux::syn, 1, greeted(request("hello")));
  const auto frame = co_await raw.read_of(1);
  REQUIRE(frame);
  CHECK(frame->header.type == RawPeer::FrameType::data);
  CHECK(frame->header.flags == yamux::ack);
  const auto answer = answer_of(frame->payload);
  REQUIRE(answer);
  CHECK(answer->call_id == skep::codec::CallId{1, 2, 3});
  CHECK(answer->response == skep::to_bytes("hello"));
  const auto end = co_await raw.read_of(1);
  REQUIRE(end);
  CHECK(end->header.flags == yamux::fin);
  CHECK(end->payload.empty());
  co_await skep_test::shut(host);
}

CO_TEST_CASE("a call comes in any pieces") {
  const auto executor = co_await asio::this_coro::executor;
  Host host = skep_test::listening_host(executor);
  host.handle("Echo.rpc_say", echo);
  auto raw = co_await RawPeer::dial(host);
  const Bytes input = greeted(request("hello"));
  for (std::size_t i = 0; i < input.size(); ++i) {
    co_await raw.write(RawPeer::FrameType::data, i == 0 ? int{yamux::syn} : 0, 1, BytesView(input).subspan(i, 1));
  }
  const auto rest = co_await raw.rest_of(1);
  CHECK(rest.closed);
  const auto answer = answer_of(rest.data);
  REQUIRE(answer);
  CHECK(answer->response == skep::to_bytes("hello"));
  co_await skep_test::shut(host);
}

CO_TEST_CASE("a slow handler's caller hears the greeting before the answer") {
  const auto executor = co_await asio::this_coro::executor;
  Host host = skep_test::listening_host(executor);
  host.handle("Echo.rpc_say", [&host](Request call) -> awaitable<Payload> {
    co_await host.sleep_until(host.steady_now() + 100ms);
    co_return std::move(call.body);
  });
  auto raw = co_await RawPeer::dial(host);
  co_await raw.write(RawPeer::FrameType::data, yamux::syn, 1, greeted(request("hello")));
  const auto first = co_await raw.read_of(1);
  REQUIRE(first);
  CHECK(first->header.flags == yamux::ack);
  CHECK(first->payload == skep::p2p::protocol_greeting("Echo.rpc_say"));
  const auto second = co_await raw.read_of(1);
  REQUIRE(second);
  CHECK_FALSE(second->payload.empty());
  const auto end = co_await raw.read_of(1);
  REQUIRE(end);
  CHECK(end->header.flags == yamux::fin);
  co_await skep_test::shut(host);
}

CO_TEST_CASE("closing, resetting or talking before the answer cancels the handler, and nothing is answered") {
  const auto executor = co_await asio::this_coro::executor;
  Host host = skep_test::listening_host(executor);
  int started = 0;
  int cancelled = 0;
  host.handle("Echo.rpc_say", [&](Request call) -> awaitable<Payload> {
    ++started;
    try {
      co_await host.sleep_until(host.steady_now() + 1h);
    } catch (const std::system_error&) {
      ++cancelled;
      throw;
    }
    co_return std::move(call.body);
  });
  auto raw = co_await RawPeer::dial(host);
  std::uint32_t id = 1;
  for (const int flags : {int{yamux::fin}, int{yamux::rst}, 0}) {
    co_await raw.write(RawPeer::FrameType::data, yamux::syn, id, greeted(request("hello")));
    const int before = cancelled;
    const bool running = co_await eventually(host, [&] { return started == before + 1; });
    CHECK(running);
    if (flags != 0) {
      co_await raw.write(RawPeer::FrameType::window_update, flags, id);
    } else {
      co_await raw.write(RawPeer::FrameType::data, 0, id, skep::as_bytes("x"));
    }
    const bool noticed = co_await eventually(host, [&] { return cancelled == before + 1; });
    CHECK(noticed);
    id += 2;
  }
  co_await skep_test::shut(host);
}

CO_TEST_CASE("requests that are none are reset, and nobody else is harmed") {
  const auto executor = co_await asio::this_coro::executor;
  Host host = skep_test::listening_host(executor, {.limits = {.request_timeout = 200ms}});
  int calls = 0;
  host.handle("Echo.rpc_say", [&](Request call) -> awaitable<Payload> {
    ++calls;
    co_return std::move(call.body);
  });
  const Bytes rows[] = {
      Bytes{0xff, 0xff, 0xff, 0xff, 0x0f},                                  // longer than 4 MiB
      Bytes{0},                                                             // empty
      Bytes{4, 0xff, 0xff, 0xff, 0xff},                                     // no protobuf
      Bytes{18, 0x0a, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},  // no call
      skep::codec::encode_unary_error({}, "an answer"),                     // an answer
      [] {
        Bytes b = request("a");
        b.push_back(0);
        return b;
      }(),  // a byte behind the request
      [] {
        Bytes b = request("never complete");
        b.pop_back();
        return b;
      }(),  // slow: 200 ms
  };
  auto raw = co_await RawPeer::dial(host);
  std::uint32_t id = 1;
  for (const auto& row : rows) {
    co_await raw.write(RawPeer::FrameType::data, yamux::syn, id, greeted(row));
    const auto rest = co_await raw.rest_of(id);
    CHECK_MESSAGE(rest.reset, id);
    id += 2;
  }
  CHECK(calls == 0);
  co_await raw.write(RawPeer::FrameType::data, yamux::syn, id, greeted(request("good")));
  const auto rest = co_await raw.rest_of(id);
  CHECK(rest.closed);
  CHECK(calls == 1);
  co_await skep_test::shut(host);
}

CO_TEST_CASE("the requests of one peer share a quota of bytes; beyond it they are told to come later") {
  const auto executor = co_await asio::this_coro::executor;
  Host host = skep_test::listening_host(executor, {.limits = {.request_quota = 1000}});
  bool release = false;
  host.handle("Echo.rpc_say", [&](Request call) -> awaitable<Payload> {
    while (!release) co_await host.sleep_until(host.steady_now() + 2ms);
    co_return Bytes{static_cast<std::uint8_t>(call.body.size())};
  });
  auto raw = co_await RawPeer::dial(host);
  co_await raw.write(RawPeer::FrameType::data, yamux::syn, 1, greeted(request(std::string(900, 'x'))));
  co_await raw.write(RawPeer::FrameType::data, yamux::syn, 3, greeted(request(std::string(200, 'x'))));
  auto rest = co_await raw.rest_of(3);
  auto answer = answer_of(rest.data);
  REQUIRE(answer);
  REQUIRE(answer->error);
  CHECK(answer->error->starts_with("busy"));
  release = true;
  rest = co_await raw.rest_of(1);
  CHECK(rest.closed);
  co_await raw.write(RawPeer::FrameType::data, yamux::syn, 5, greeted(request(std::string(200, 'x'))));
  rest = co_await raw.rest_of(5);
  answer = answer_of(rest.data);
  REQUIRE(answer);
  CHECK(answer->response);
  co_await skep_test::shut(host);
}

CO_TEST_CASE("an answer that nobody takes is given up after a while") {
  const auto executor = co_await asio::this_coro::executor;
  Host host = skep_test::listening_host(executor, {.limits = {.request_timeout = 100ms}});
  host.handle("Echo.rpc_say", [](Request) -> awaitable<Payload> { co_return Bytes(1'000'000); });
  auto raw = co_await RawPeer::dial(host);
  co_await raw.write(RawPeer::FrameType::data, yamux::syn, 1, greeted(request("large")));
  const auto rest = co_await raw.rest_of(1);  // no window is granted
  CHECK(rest.reset);
  CHECK(rest.data.size() == yamux::initial_window);
  co_await skep_test::shut(host);
}
