#include "skep/p2p/host_state.hpp"

#include <set>
#include <string>
#include <vector>

#include "skep/async/when_all.hpp"
#include "support/hosts.hpp"
// doctest last
#include "support/coroutine.hpp"

using namespace skep_test;
using skep::p2p::HostState;

CO_TEST_CASE("services hear of connections, which are shared and end with the peer") {
  auto server = listening_host(co_await asio::this_coro::executor);
  const auto client = std::make_shared<HostState>(co_await asio::this_coro::executor, HostOptions{});
  int connected = 0;
  client->hooks.connected = [&](const auto&) { ++connected; };
  client->store().add_address(server.self(), server.addresses().front().without_peer(), client->now(),
                              skep::SteadyTime::max());
  const auto deadline = skep::deadline_after(client->now(), 5s);
  const auto first = co_await HostState::connection_to(client, server.self(), deadline);
  const auto second = co_await HostState::connection_to(client, server.self(), deadline);
  CHECK(first == second);  // what is connected is not dialled again
  CHECK(connected == 1);
  CHECK(client->peers() == std::vector{server.self()});

  co_await shut(server);
  const auto end = client->now() + 5s;
  while (!client->peers().empty() && client->now() < end) co_await client->sleep_until(client->now() + 2ms);
  CHECK(client->peers().empty());
  client->close();
  co_await HostState::join(client);
}

CO_TEST_CASE("a peer that nobody knows is asked for through the hook, and then unreachable") {
  const auto client = std::make_shared<HostState>(co_await asio::this_coro::executor, HostOptions{});
  const auto stranger = skep::p2p::Identity::generate().id();
  std::vector<PeerId> asked;
  client->hooks.find_peer = [&](PeerId peer) -> awaitable<void> {
    asked.push_back(peer);
    co_return;
  };
  const auto failure =
      co_await failure_of(HostState::connection_to(client, stranger, skep::deadline_after(client->now(), 5s)));
  CHECK(failure.code == make_error_code(skep::errc::unreachable));
  CHECK(asked == std::vector{stranger});
  client->close();
  co_await HostState::join(client);
}

CO_TEST_CASE("call ids do not repeat, and a seed makes the other random numbers repeat") {
  const auto executor = co_await asio::this_coro::executor;
  const auto state = std::make_shared<HostState>(executor, HostOptions{});
  std::set<skep::codec::CallId> seen;
  for (int i = 0; i < 1000; ++i) seen.insert(state->next_call_id());
  CHECK(seen.size() == 1000);
  const Host one(executor, {.seed = 7});
  const Host two(executor, {.seed = 7});
  const auto drawn = one.random()();
  CHECK(drawn == two.random()());
  CHECK(drawn != state->random()());
}

CO_TEST_CASE("announced addresses stand in for those listened on") {
  const auto executor = co_await asio::this_coro::executor;
  const Host host(executor, {.listen = {"/ip4/127.0.0.1/tcp/0"}, .announce = {"/ip4/192.0.2.5/tcp/31337"}});
  REQUIRE(host.addresses().size() == 1);
  CHECK(host.addresses().front().to_string() == "/ip4/192.0.2.5/tcp/31337/p2p/" + host.self().to_string());
  const Host client(executor);
  CHECK(client.addresses().empty());
}

CO_TEST_CASE("more connections than a host may have are closed at once") {
  const auto executor = co_await asio::this_coro::executor;
  Host host = listening_host(executor, {.limits = {.max_connections = 2}});
  auto one = co_await RawPeer::dial(host);
  auto two = co_await RawPeer::dial(host);
  const bool both = co_await eventually(host, [&] { return host.peers().size() == 2; });
  CHECK(both);
  auto three = co_await RawPeer::dial(host);
  while (co_await three.read()) {
  }  // until the end
  CHECK(host.peers().size() == 2);
  co_await shut(host);
}

CO_TEST_CASE("a handshake that is never finished is given up") {
  const auto executor = co_await asio::this_coro::executor;
  Host host = listening_host(executor, {.limits = {.upgrade_timeout = 50ms}});
  const auto endpoint = host.addresses().front().tcp();
  asio::ip::tcp::socket socket(executor);
  co_await socket.async_connect({asio::ip::make_address(endpoint->host), endpoint->port}, skep::use_awaitable);
  Bytes buffer(100);
  std::size_t total = 0;
  std::error_code code;
  while (!code) {
    try {
      total += co_await socket.async_read_some(asio::buffer(buffer), skep::use_awaitable);
    } catch (const std::system_error& error) {
      code = error.code();
    }
  }
  CHECK(total == 20);  // the header of multistream, unprompted, and then nothing
  co_await shut(host);
}

CO_TEST_CASE("whoever waits for a dial has a deadline of its own, and the dial goes on for the others") {
  const auto executor = co_await asio::this_coro::executor;
  asio::ip::tcp::acceptor silent(executor, asio::ip::tcp::endpoint(asio::ip::address_v4::loopback(), 0));
  Host host(executor, {.limits = {.dial_timeout = 150ms}});
  const auto peer = skep::p2p::Identity::generate().id();
  host.add_address(peer,
                   skep::p2p::Multiaddr::parse("/ip4/127.0.0.1/tcp/" + std::to_string(silent.local_endpoint().port())));
  std::vector<awaitable<Failure>> both;
  both.push_back(failure_of(host.call(peer, "Echo.rpc_say", skep::p2p::Payload(), {.timeout = 20ms})));
  both.push_back(failure_of(host.call(peer, "Echo.rpc_say", skep::p2p::Payload(), {.timeout = 10s})));
  const auto failures = co_await skep::when_all(std::move(both));
  CHECK(failures[0].code == skep::errc::timed_out);
  CHECK(failures[1].code == skep::errc::unreachable);
  CHECK(failures[1].words.find("timed out (tried 1 address in 0.") != std::string::npos);
  co_await shut(host);
}

CO_TEST_CASE("an address whose connections end as soon as they begin has them one after another") {
  const auto executor = co_await asio::this_coro::executor;
  const skep::p2p::HostLimits limits{.standing = {.faults = 0, .forgiven_per_second = 10, .longest_pause = 10s}};
  Host host = listening_host(executor, {.limits = limits});
  Host early(executor);
  co_await early.connect(host.addresses().front());
  const auto begin = host.steady_now();
  for (int i = 0; i < 4; ++i) {
    {
      const auto cut = co_await RawPeer::dial(host);
      const bool came = co_await eventually(host, [&] { return host.peers().size() == 2; });
      CHECK(came);
    }
    const bool gone = co_await eventually(host, [&] { return host.peers().size() == 1; });
    CHECK(gone);
  }
  CHECK(host.steady_now() - begin > 190ms);  // the first had no reason to wait, the second is the first of the line
  const auto elsewhere = co_await early.ping(host.self());  // who was there before does not wait with them
  CHECK(elsewhere < 10s);
  co_await shut(early);
  co_await shut(host);
}
