#include "skep/p2p/dialer.hpp"

#include <string>
#include <vector>

#include "skep/async/asio_clock.hpp"
#include "skep/async/scope.hpp"
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

namespace {

skep::p2p::Multiaddr address_of(const asio::ip::tcp::acceptor& acceptor) {
  return skep::p2p::Multiaddr::parse("/ip4/127.0.0.1/tcp/" + std::to_string(acceptor.local_endpoint().port()));
}

}  // namespace

CO_TEST_CASE("the first address that works wins: refused ones cost no time, silent ones a head start") {
  const auto executor = co_await asio::this_coro::executor;
  const skep::AsioClock clock(executor);
  auto host = listening_host(executor);
  asio::ip::tcp::acceptor silent(executor, asio::ip::tcp::endpoint(asio::ip::address_v4::loopback(), 0));
  asio::ip::tcp::acceptor refusing(executor, asio::ip::tcp::endpoint(asio::ip::address_v4::loopback(), 0));
  const auto refused = address_of(refusing);
  refusing.close();
  skep::p2p::Dialer dialer(clock, RawPeer::credentials(), skep::p2p::HostLimits{.dial_stagger = 50ms});
  const auto good = host.addresses().front().without_peer();
  const auto result = co_await dialer.dial(host.self(), {refused, address_of(silent), good});
  REQUIRE(result.connection);
  CHECK(result.connection->peer == host.self());
  CHECK(result.address == good);
  REQUIRE(!result.failures.empty());
  CHECK(result.failures[0].why == asio::error::connection_refused);
  CHECK(result.took >= 50ms);
  co_await shut(host);
}

CO_TEST_CASE("names are resolved; the wrong peer, and an address that is not TCP, are failures") {
  const auto executor = co_await asio::this_coro::executor;
  const skep::AsioClock clock(executor);
  auto host = listening_host(executor);
  skep::p2p::Dialer dialer(clock, RawPeer::credentials(), {});
  const std::string port = std::to_string(host.addresses().front().tcp()->port);
  for (const char* const kind : {"/dns/", "/dns4/"}) {
    const auto found =
        co_await dialer.dial({}, {skep::p2p::Multiaddr::parse(std::string(kind) + "localhost/tcp/" + port)});
    REQUIRE(found.connection);
    CHECK(found.connection->peer == host.self());
  }
  auto result = co_await dialer.dial(skep::p2p::Identity::generate().id(), {host.addresses().front()});
  CHECK_FALSE(result.connection);
  REQUIRE(result.failures.size() == 1);
  CHECK(result.failures[0].why == skep::p2p::errc::wrong_peer);
  result = co_await dialer.dial({}, {skep::p2p::Multiaddr::parse("/ip4/127.0.0.1/udp/1/quic-v1")});
  CHECK_FALSE(result.connection);
  CHECK(result.failures.size() == 1);
  result = co_await dialer.dial({}, {});
  CHECK_FALSE(result.connection);
  CHECK(result.failures.empty());
  co_await shut(host);
}

CO_TEST_CASE("cancelling a dial ends all its attempts") {
  const auto executor = co_await asio::this_coro::executor;
  const skep::AsioClock clock(executor);
  asio::ip::tcp::acceptor silent(executor, asio::ip::tcp::endpoint(asio::ip::address_v4::loopback(), 0));
  skep::p2p::Dialer dialer(clock, RawPeer::credentials(), skep::p2p::HostLimits{.dial_stagger = 1ms});
  skep::Scope scope(executor);
  bool cancelled = false;
  scope.spawn([&]() -> awaitable<void> {
    const auto failure = co_await failure_of(dialer.dial({}, {address_of(silent), address_of(silent)}));
    cancelled = skep::is_cancellation(failure.code);
  });
  co_await clock.sleep_until(clock.steady_now() + 20ms);
  scope.cancel();
  co_await scope.join();
  CHECK(cancelled);
}

TEST_CASE("why a peer could not be reached, in one sentence") {
  const auto peer = skep::p2p::Identity::generate().id();
  const auto address = skep::p2p::Multiaddr::parse("/ip4/192.0.2.5/tcp/31337");
  skep::p2p::DialResult result;
  result.failures = {{address, asio::error::make_error_code(asio::error::connection_refused)},
                     {address, make_error_code(skep::errc::timed_out)}};
  result.took = 1040ms;
  CHECK(std::string(unreachable(peer, result).what()) ==
        "skep: cannot reach " + peer.to_string() +
            " at /ip4/192.0.2.5/tcp/31337: connection refused (tried 2 addresses in 1.0 s)");
  CHECK(std::string(unreachable({}, result).what()).starts_with("skep: cannot reach /ip4/192.0.2.5/tcp/31337: "));
  result.failures.clear();
  CHECK(std::string(unreachable(peer, result, 4500ms).what()) ==
        "skep: cannot reach " + peer.to_string() +
            ": its addresses failed a moment ago and are left alone for another 5 s");
}
