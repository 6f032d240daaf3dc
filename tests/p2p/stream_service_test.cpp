#include "skep/p2p/stream_service.hpp"

#include <algorithm>
#include <string>

#include "support/coroutine.hpp"
#include "support/hosts.hpp"

#include <doctest/doctest.h>

using namespace std::chrono_literals;
using skep::awaitable;
using skep::Bytes;
using skep::p2p::Host;
using skep_test::eventually;
using skep_test::listening_host;
using skep_test::RawPeer;
using skep_test::shut;
namespace yamux = skep::p2p::yamux;
using yamux::FrameType;

CO_TEST_CASE("a handler starts before the first message, and its caller need not send any") {
  const auto executor = co_await asio::this_coro::executor;
  Host host = listening_host(executor);
  host.handle_stream("Echo.rpc_first", [](Host::Stream stream) -> awaitable<void> {
    co_await stream.send(skep::to_bytes("welcome"));
    while (co_await stream.receive()) {
    }
  });
  auto raw = co_await RawPeer::dial(host);
  const Bytes greeting = skep::p2p::protocol_greeting("Echo.rpc_first");
  co_await raw.write(FrameType::data, yamux::syn, 1, greeting);
  Bytes heard;
  Bytes expected = greeting;
  skep::append(expected, Bytes{0, 0, 0, 0, 0, 0, 0, 0, 7});
  skep::append(expected, skep::to_bytes("welcome"));
  while (heard.size() < expected.size()) {
    const auto frame = co_await raw.read_of(1);
    REQUIRE(frame);
    CHECK_FALSE(frame->header.has(yamux::fin));
    skep::append(heard, frame->payload);
  }
  CHECK(heard == expected);
  co_await raw.write(FrameType::data, 0, 1, Bytes{1, 0, 0, 0, 0, 0, 0, 0, 0});
  const auto rest = co_await raw.rest_of(1);
  CHECK(rest.closed);
  CHECK(rest.data.empty());  // there is no end marker on this side
  co_await shut(host);
}

CO_TEST_CASE("the stream is closed only after the caller's input was read to its end") {
  const auto executor = co_await asio::this_coro::executor;
  Host host = listening_host(executor);
  host.handle_stream("Echo.rpc_hasty", [](Host::Stream) -> awaitable<void> { co_return; });
  auto raw = co_await RawPeer::dial(host);
  const Bytes greeting = skep::p2p::protocol_greeting("Echo.rpc_hasty");
  co_await raw.write(FrameType::data, yamux::syn, 1, greeting);
  constexpr std::size_t size = 600'000;
  Bytes input{0};
  skep::append_be<std::uint64_t>(input, size);
  input.resize(9 + size);
  std::size_t window = yamux::initial_window - greeting.size();
  for (std::size_t sent = 0; sent < input.size();) {
    const std::size_t n = std::min({window, input.size() - sent, std::size_t{60'000}});
    if (n == 0) {
      const auto frame = co_await raw.read_of(1);
      REQUIRE(frame);
      REQUIRE_FALSE(frame->header.has(yamux::fin));
      if (frame->header.type == FrameType::window_update) window += frame->header.length;
      continue;
    }
    co_await raw.write(FrameType::data, 0, 1, skep::BytesView(input).subspan(sent, n));
    sent += n;
    window -= n;
  }
  co_await raw.write(FrameType::data, 0, 1, Bytes{1, 0, 0, 0, 0, 0, 0, 0, 0});
  const auto rest = co_await raw.rest_of(1);
  CHECK(rest.closed);
  co_await shut(host);
}

CO_TEST_CASE("an input that never ends is given up after a while") {
  const auto executor = co_await asio::this_coro::executor;
  Host host = listening_host(executor, {.limits = {.stream_timeout = 60ms}});
  host.handle_stream("Echo.rpc_hasty", [](Host::Stream) -> awaitable<void> { co_return; });
  auto raw = co_await RawPeer::dial(host);
  co_await raw.write(FrameType::data, yamux::syn, 1, skep::p2p::protocol_greeting("Echo.rpc_hasty"));
  const auto rest = co_await raw.rest_of(1);
  CHECK(rest.reset);
  co_await shut(host);
}

CO_TEST_CASE("a caller that closes cancels the handler") {
  const auto executor = co_await asio::this_coro::executor;
  Host host = listening_host(executor);
  int running = 0;
  int cancelled = 0;
  host.handle_stream("Echo.rpc_wait", [&](Host::Stream) -> awaitable<void> {
    ++running;
    try {
      co_await host.sleep_until(host.steady_now() + 1h);
    } catch (const std::system_error&) {
      ++cancelled;
      throw;
    }
  });
  auto raw = co_await RawPeer::dial(host);
  co_await raw.write(FrameType::data, yamux::syn, 1, skep::p2p::protocol_greeting("Echo.rpc_wait"));
  bool so = co_await eventually(host, [&] { return running == 1; });
  CHECK(so);
  co_await raw.write(FrameType::window_update, yamux::fin, 1);
  so = co_await eventually(host, [&] { return cancelled == 1; });
  CHECK(so);
  co_await shut(host);
}
