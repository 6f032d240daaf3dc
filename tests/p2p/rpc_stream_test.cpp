#include "skep/p2p/rpc_stream.hpp"

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "skep/async/scope.hpp"
#include "skep/async/when_all.hpp"
#include "support/coroutine.hpp"
#include "support/hosts.hpp"

#include <doctest/doctest.h>

using namespace std::chrono_literals;
using skep::awaitable;
using skep::Bytes;
using skep::BytesView;
using skep::p2p::Host;
using skep::p2p::Payload;
using skep::p2p::Stream;
using skep_test::connected_hosts;
using skep_test::eventually;
using skep_test::failure_of;
using skep_test::RawPeer;
using skep_test::shut;
namespace yamux = skep::p2p::yamux;

namespace {

awaitable<void> echo_all(Stream stream) {
  while (auto message = co_await stream.receive()) co_await stream.send(*std::move(message));
}

/// The bytes of one record of wire protocol 6.2.
Bytes record(int kind, BytesView body, std::optional<std::uint64_t> length = {}) {
  Bytes out{static_cast<std::uint8_t>(kind)};
  skep::append_be<std::uint64_t>(out, length.value_or(body.size()));
  skep::append(out, body);
  return out;
}
Bytes record(int kind, const std::string& body) { return record(kind, skep::as_bytes(body)); }

}  // namespace

CO_TEST_CASE("messages there and back, one after the other and all at once") {
  auto [server, client] = co_await connected_hosts();
  server.handle_stream("Echo.rpc_all", echo_all);
  auto stream = co_await client.open(server.self(), "Echo.rpc_all");
  CHECK(stream.peer() == server.self());
  for (const std::size_t size : {0U, 1U, 1000U, 100'000U}) {
    co_await stream.send(Bytes(size, 7));
    const auto back = co_await stream.receive();
    CHECK(back == Bytes(size, 7));
  }
  for (int i = 0; i < 10; ++i) co_await stream.send(Bytes(static_cast<std::size_t>(i), 1));
  co_await stream.end_of_input();
  for (std::size_t i = 0; i < 10; ++i) {
    const auto back = co_await stream.receive();
    CHECK(back == Bytes(i, 1));
  }
  const auto end = co_await stream.receive();
  CHECK_FALSE(end);
  const auto still = co_await stream.receive();
  CHECK_FALSE(still);
  const auto late = co_await failure_of(stream.send(Bytes(1)));
  CHECK(late.code == skep::errc::invalid_argument);
  co_await shut({server, client});
}

CO_TEST_CASE("32 MiB both ways at the same time, into sinks") {
  auto [server, client] = co_await connected_hosts();
  server.handle_stream("Echo.rpc_all", echo_all);
  Stream stream = co_await client.open(server.self(), "Echo.rpc_all", {.max_response = 8 * 1024 * 1024});
  constexpr int count = 8;
  auto body = std::make_shared<Bytes>(4 * 1024 * 1024);
  skep::Random(1).fill(*body);
  std::vector<awaitable<void>> both;
  both.push_back([](Stream& to, std::shared_ptr<Bytes> bytes) -> awaitable<void> {
    for (int i = 0; i < count; ++i) {
      Payload message;
      message.append(*bytes, bytes);
      co_await to.send(std::move(message));
    }
    co_await to.end_of_input();
  }(stream, body));
  int good = 0;
  both.push_back([](Stream& from, std::shared_ptr<Bytes> bytes, int& right) -> awaitable<void> {
    for (;;) {
      auto sink = std::make_shared<skep::p2p::BytesSink>(8 * 1024 * 1024);
      const bool more = co_await from.receive_into(sink);
      if (!more) co_return;
      if (std::move(*sink).take() == *bytes) ++right;
    }
  }(stream, body, good));
  co_await skep::when_all(std::move(both));
  CHECK(good == count);
  co_await shut({server, client});
}

CO_TEST_CASE("a handler that throws ends the stream with its words, after what it had sent") {
  auto [server, client] = co_await connected_hosts();
  server.handle_stream("Echo.rpc_drop", [](Stream stream) -> awaitable<void> {
    const auto first = co_await stream.receive();
    co_await stream.send(*first);
    throw std::runtime_error("no second");
  });
  server.handle_stream("Echo.rpc_mute", [](Stream) -> awaitable<void> {
    throw std::runtime_error("");
    co_return;
  });
  auto stream = co_await client.open(server.self(), "Echo.rpc_drop");
  co_await stream.send(skep::to_bytes("one"));
  co_await stream.send(Bytes(3'000'000));  // never read by the handler, and yet taken to its end
  co_await stream.end_of_input();
  const auto first = co_await stream.receive();
  CHECK(first == skep::to_bytes("one"));
  const auto error = co_await failure_of(stream.receive());
  CHECK(error.code == skep::errc::remote);
  CHECK(error.words == "no second");
  stream = co_await client.open(server.self(), "Echo.rpc_mute");
  const auto mute = co_await failure_of(stream.receive());
  CHECK(mute.code == skep::errc::remote);
  CHECK(mute.words == "the handler failed");
  co_await shut({server, client});
}

CO_TEST_CASE("a handler that answers without reading, and one that only reads") {
  auto [server, client] = co_await connected_hosts();
  server.handle_stream("Echo.rpc_fixed", [](Stream stream) -> awaitable<void> { co_await stream.send(Bytes(5)); });
  std::size_t total = 0;
  server.handle_stream("Echo.rpc_sum", [&total](Stream stream) -> awaitable<void> {
    while (auto message = co_await stream.receive()) total += message->size();
  });
  auto stream = co_await client.open(server.self(), "Echo.rpc_fixed");
  co_await stream.end_of_input();
  const auto five = co_await stream.receive();
  CHECK(five == Bytes(5));
  auto end = co_await stream.receive();
  CHECK_FALSE(end);
  stream = co_await client.open(server.self(), "Echo.rpc_sum");
  for (int i = 0; i < 3; ++i) co_await stream.send(Bytes(1'000'000));
  co_await stream.end_of_input();
  end = co_await stream.receive();
  CHECK_FALSE(end);
  CHECK(total == 3'000'000);
  co_await shut({server, client});
}

CO_TEST_CASE("a method that the peer does not have shows at the first receive") {
  auto [server, client] = co_await connected_hosts();
  auto stream = co_await client.open(server.self(), "Echo.rpc_none");
  co_await stream.send(Bytes(1));
  const auto missing = co_await failure_of(stream.receive());
  CHECK(missing.code == skep::p2p::errc::protocol_not_supported);
  const auto after = co_await failure_of(stream.send(Bytes(1)));
  CHECK(after.code == skep::p2p::errc::protocol_not_supported);
  co_await shut({server, client});
}

CO_TEST_CASE("a caller that gives up cancels the handler") {
  auto [server, client] = co_await connected_hosts();
  int cancelled = 0;
  server.handle_stream("Echo.rpc_wait", [&](Stream stream) -> awaitable<void> {
    try {
      while (auto message = co_await stream.receive()) co_await stream.send(*std::move(message));
      co_await server.sleep_until(server.steady_now() + 1h);
    } catch (const std::system_error&) {
      ++cancelled;
      throw;
    }
  });
  {
    auto stream = co_await client.open(server.self(), "Echo.rpc_wait");
    co_await stream.send(Bytes(1));
    co_await stream.receive();
  }  // destroyed
  bool noticed = co_await eventually(server, [&] { return cancelled == 1; });
  CHECK(noticed);
  auto stream = co_await client.open(server.self(), "Echo.rpc_wait");
  co_await stream.send(Bytes(1));
  co_await stream.end_of_input();
  co_await stream.receive();
  stream.reset();
  noticed = co_await eventually(server, [&] { return cancelled == 2; });
  CHECK(noticed);
  const auto after = co_await failure_of(stream.receive());
  CHECK(after.code == skep::errc::closed);
  co_await shut({server, client});
}

CO_TEST_CASE("a receive that is cancelled loses nothing when no message had begun") {
  auto [server, client] = co_await connected_hosts();
  server.handle_stream("Echo.rpc_all", echo_all);
  Stream stream = co_await client.open(server.self(), "Echo.rpc_all");
  co_await stream.send(skep::to_bytes("first"));
  co_await stream.receive();
  skep::Scope scope(client.executor());
  scope.spawn([&stream]() -> awaitable<void> { co_await stream.receive(); });
  scope.cancel();
  co_await scope.join();
  co_await stream.send(skep::to_bytes("second"));
  const auto second = co_await stream.receive();
  CHECK(second == skep::to_bytes("second"));
  co_await shut({server, client});
}

CO_TEST_CASE("the deadline of every wait: nobody sends, nobody reads") {
  auto [server, client] = co_await connected_hosts({.limits = {.stream_timeout = 60ms}});
  std::error_code at_server;
  server.handle_stream("Echo.rpc_all", [&](Stream stream) -> awaitable<void> {
    const auto failed = co_await failure_of(stream.receive());
    at_server = failed.code;
  });
  server.handle_stream("Echo.rpc_deaf",
                       [&](Stream) -> awaitable<void> { co_await server.sleep_until(server.steady_now() + 1h); });
  auto silent = co_await client.open(server.self(), "Echo.rpc_all", {.timeout = 10s});
  co_await silent.send(Bytes(0));
  auto waiting = co_await client.open(server.self(), "Echo.rpc_deaf", {.timeout = 50ms});
  const auto late = co_await failure_of(waiting.receive());
  CHECK(late.code == skep::errc::timed_out);
  CHECK(late.words.find("the stream of Echo.rpc_deaf to " + server.self().to_string()) != std::string::npos);
  auto writing = co_await client.open(server.self(), "Echo.rpc_deaf", {.timeout = 50ms});
  const auto stuck = co_await failure_of(writing.send(Bytes(1'000'000)));  // more than the window
  CHECK(stuck.code == skep::errc::timed_out);
  silent = co_await client.open(server.self(), "Echo.rpc_all", {.timeout = 10s});
  co_await silent.end_of_input();
  co_await silent.receive();
  CHECK_FALSE(at_server);
  co_await shut({server, client});
}

CO_TEST_CASE("messages above the limit fail before they are allocated") {
  auto [server, client] = co_await connected_hosts({.limits = {.max_stream_message = 1000}});
  std::error_code at_server;
  server.handle_stream("Echo.rpc_all", [&](Stream stream) -> awaitable<void> {
    const auto failed = co_await failure_of(stream.receive());
    at_server = failed.code;
  });
  auto stream = co_await client.open(server.self(), "Echo.rpc_all");
  co_await stream.send(Bytes(1001));
  const auto lost = co_await failure_of(stream.receive());
  CHECK(lost.code == skep::p2p::errc::stream_reset);
  CHECK(at_server == skep::errc::limit_exceeded);
  co_await shut({server, client});
}

CO_TEST_CASE("what a hostile or clumsy callee answers") {
  // the answers of a raw peer to the streaming call of a host, and how they end it
  struct Row {
    const char* what;
    Bytes answer;
    int flags;  // of the frame behind it
    std::size_t messages;
    std::error_code code;
  };
  const Row rows[] = {
      {"nothing at all", {}, yamux::fin, 0, {}},
      {"one message", record(0, "a"), yamux::fin, 1, {}},
      {"ends inside a head", Bytes{0, 0, 0}, yamux::fin, 0, skep::errc::truncated},
      {"ends inside a body", record(0, skep::as_bytes("abc"), 10), yamux::fin, 0, skep::errc::truncated},
      {"an unknown marker", record(2, "a"), yamux::fin, 0, skep::errc::malformed},
      {"a length beyond reason", record(0, {}, ~std::uint64_t{0}), yamux::fin, 0, skep::errc::limit_exceeded},
      {"an error record", record(1, "\x0a\x04boom"), yamux::fin, 0, skep::errc::remote},
      {"an empty error record", record(1, ""), yamux::fin, 0, skep::errc::remote},
      {"an error record that is no message", record(1, "\xff\xff"), yamux::fin, 0, skep::errc::remote},
      {"a reset after a whole message", record(0, "a"), yamux::rst, 1, skep::p2p::errc::stream_reset},
  };
  const auto executor = co_await asio::this_coro::executor;
  for (const auto& row : rows) {
    Host host = skep_test::listening_host(executor);
    auto raw = co_await RawPeer::dial(host);
    const bool there = co_await eventually(host, [&] { return !host.peers().empty(); });
    CHECK(there);
    Stream stream = co_await host.open(host.peers().front(), "Echo.rpc_all", {.timeout = 5s});
    co_await stream.send(Bytes(3));
    std::optional<RawPeer::Frame> first;
    do {  // the identify question of the host comes before
      first = co_await raw.read();
    } while (first && skep::as_text(first->payload).find("Echo.rpc_all") == std::string::npos);
    REQUIRE(first);
    const std::uint32_t id = first->header.stream;
    Bytes answer = skep::p2p::protocol_greeting("Echo.rpc_all");
    skep::append(answer, row.answer);
    co_await raw.write(RawPeer::FrameType::data, yamux::ack, id, answer);
    co_await raw.write(RawPeer::FrameType::window_update, row.flags, id);
    std::size_t messages = 0;
    std::error_code code;
    try {
      while (co_await stream.receive()) ++messages;
    } catch (const std::system_error& error) {
      code = error.code();
    }
    CHECK_MESSAGE(messages == row.messages, row.what);
    CHECK_MESSAGE(code == row.code, row.what);
    co_await shut(host);
  }
}

CO_TEST_CASE("what a hostile or clumsy caller sends") {
  struct Row {
    const char* what;
    Bytes input;
    int flags;
    bool closed;  // the host ends the stream in order, not by a reset
  };
  const Row rows[] = {
      {"the end of its input", record(1, ""), 0, true},
      {"a message and the end",
       [] {
         Bytes b = record(0, "a");
         skep::append(b, record(1, ""));
         return b;
       }(),
       0, true},
      {"an end with words", record(1, "\x0a\x04tired"), 0, true},
      {"an unknown marker", record(9, "a"), 0, false},
      {"a length beyond reason", record(0, {}, ~std::uint64_t{0}), 0, false},
      {"bytes behind the end",
       [] {
         Bytes b = record(1, "");
         skep::append(b, record(0, "a"));
         return b;
       }(),
       0, false},
  };
  const auto executor = co_await asio::this_coro::executor;
  Host host = skep_test::listening_host(executor);
  host.handle_stream("Echo.rpc_all", echo_all);
  for (const auto& row : rows) {
    auto raw = co_await RawPeer::dial(host);
    Bytes input = skep::p2p::protocol_greeting("Echo.rpc_all");
    skep::append(input, row.input);
    co_await raw.write(RawPeer::FrameType::data, yamux::syn, 1, input);
    const auto rest = co_await raw.rest_of(1);
    CHECK_MESSAGE(rest.closed == row.closed, row.what);
    CHECK_MESSAGE(rest.reset != row.closed, row.what);
  }
  co_await shut(host);
}
