#include "skep/sim/stream.hpp"

#include "support/coroutine.hpp"

using namespace skep;

namespace {
p2p::PeerId peer(std::uint8_t n) { return *p2p::PeerId::from_bytes(Bytes{0x00, 0x01, n}); }
}  // namespace

CO_TEST_CASE("messages arrive in order in both directions, and both sides can end") {
  auto [caller, callee] = sim::Stream::make(co_await asio::this_coro::executor, peer(1), peer(2));
  CHECK(caller.peer() == peer(2));
  CHECK(callee.peer() == peer(1));
  co_await caller.send(Bytes{1});
  co_await caller.send(Bytes{2, 3});
  co_await caller.end_of_input();
  const auto first = co_await callee.receive();
  CHECK(first == Bytes{1});
  const auto sink = std::make_shared<p2p::BytesSink>(10);
  const bool more = co_await callee.receive_into(sink);
  CHECK(more);
  CHECK(std::move(*sink).take() == Bytes{2, 3});
  const auto none = co_await callee.receive();
  CHECK_FALSE(none);
  co_await callee.send(Bytes{4});
  callee.ender()("failed");
  const auto reply = co_await caller.receive();
  CHECK(reply == Bytes{4});
  bool remote = false;
  try {
    co_await caller.receive();
  } catch (const RemoteError& error) {
    remote = error.text() == "failed";
  }
  CHECK(remote);
}

CO_TEST_CASE("a reset ends the other side's waits") {
  auto ends = sim::Stream::make(co_await asio::this_coro::executor, peer(1), peer(2));
  ends.first.reset();
  bool closed = false;
  try {
    co_await ends.second.receive();
  } catch (const Error& error) {
    closed = error.code() == errc::closed;
  }
  CHECK(closed);
}

CO_TEST_CASE("a sink that refuses a size refuses the message") {
  auto [caller, callee] = sim::Stream::make(co_await asio::this_coro::executor, peer(1), peer(2));
  co_await caller.send(Bytes(11));
  bool refused = false;
  try {
    co_await callee.receive_into(std::make_shared<p2p::BytesSink>(10));
  } catch (const Error& error) {
    refused = error.code() == errc::limit_exceeded;
  }
  CHECK(refused);
}
