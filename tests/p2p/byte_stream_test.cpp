#include "skep/p2p/byte_stream.hpp"

#include "support/hosts.hpp"
// doctest last
#include "support/coroutine.hpp"

using namespace skep_test;

namespace {

/// Finds the first connection of a host and the host's state beneath it, through a protocol of the test's own.
awaitable<std::shared_ptr<skep::p2p::HostState>> state_of(HostOptions options) {
  const auto state = std::make_shared<skep::p2p::HostState>(co_await asio::this_coro::executor, std::move(options));
  co_return state;
}

}  // namespace

CO_TEST_CASE("bytes go there and come back, until the other side closes") {
  auto server = listening_host(co_await asio::this_coro::executor);
  const auto client = co_await state_of({});
  client->store().add_address(server.self(), server.addresses().front().without_peer(), client->now(),
                              skep::SteadyTime::max());
  const auto connection =
      co_await skep::p2p::HostState::connection_to(client, server.self(), skep::deadline_after(client->now(), 5s));
  // the ping protocol echoes 32 bytes at a time
  const auto stream = skep::p2p::ByteStream::open(client, *connection, "/ipfs/ping/1.0.0", 5s);
  const Bytes sent(32, 7);
  co_await skep::p2p::ByteStream::write(stream, sent);
  Bytes back;
  while (back.size() < sent.size()) skep::append(back, co_await skep::p2p::ByteStream::read(stream));
  CHECK(back == sent);
  stream->finish();
  CHECK((co_await skep::p2p::ByteStream::read(stream)).empty());

  const auto unknown = skep::p2p::ByteStream::open(client, *connection, "/no/such/protocol", 5s);
  const auto failure = co_await failure_of(skep::p2p::ByteStream::read(unknown));
  CHECK(failure.code == make_error_code(skep::p2p::errc::protocol_not_supported));
  client->close();
  co_await skep::p2p::HostState::join(client);
  co_await shut(server);
}

CO_TEST_CASE("a wait that is longer than the limit ends the stream") {
  auto server = listening_host(co_await asio::this_coro::executor);
  const auto client = co_await state_of({});
  client->store().add_address(server.self(), server.addresses().front().without_peer(), client->now(),
                              skep::SteadyTime::max());
  const auto connection =
      co_await skep::p2p::HostState::connection_to(client, server.self(), skep::deadline_after(client->now(), 5s));
  const auto stream = skep::p2p::ByteStream::open(client, *connection, "/ipfs/ping/1.0.0", 50ms);
  const auto failure = co_await failure_of(skep::p2p::ByteStream::read(stream));
  CHECK(failure.code == make_error_code(skep::errc::timed_out));
  client->close();
  co_await skep::p2p::HostState::join(client);
  co_await shut(server);
}
