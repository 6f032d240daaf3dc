#include "skep/p2p/dialer.hpp"

#include "support/hosts.hpp"
// doctest last
#include "support/coroutine.hpp"

using namespace skep_test;

CO_TEST_CASE("a dead address does not keep a peer from being reached at another") {
  const auto executor = co_await asio::this_coro::executor;
  auto server = listening_host(executor);
  Host client(executor);
  client.add_address(server.self(), skep::p2p::Multiaddr::parse("/ip4/127.0.0.1/tcp/1"));
  client.add_address(server.self(), server.addresses().front());
  server.handle("Echo.rpc_say", echo);
  const auto answer = co_await client.call(server.self(), "Echo.rpc_say", skep::to_bytes("hello"), {.timeout = 5s});
  CHECK(skep::as_text(answer) == "hello");
  co_await shut(client);
  co_await shut(server);
}

CO_TEST_CASE("somebody who accepts and says nothing costs no more than the limit of a dial") {
  const auto executor = co_await asio::this_coro::executor;
  asio::ip::tcp::acceptor silent(executor, {asio::ip::make_address("127.0.0.1"), 0});
  HostOptions options;
  options.limits.dial_timeout = 50ms;
  Host client(executor, options);
  const auto peer = skep::p2p::Identity::generate().id();
  client.add_address(peer, *skep::p2p::Multiaddr::from_tcp("127.0.0.1", silent.local_endpoint().port()));
  const auto failure = co_await failure_of(client.call(peer, "Echo.rpc_say", Bytes{}, {.timeout = 5s}));
  CHECK(failure.code == make_error_code(skep::errc::unreachable));
  CHECK(failure.words.find("timed out") != std::string::npos);
  co_await shut(client);
}

TEST_CASE("codes stand in a sentence without a capital") {
  CHECK(skep::p2p::detail::in_sentence(asio::error::make_error_code(asio::error::connection_refused)) ==
        "connection refused");
  CHECK(skep::p2p::detail::in_sentence(make_error_code(skep::errc::timed_out)) == "timed out");
}
