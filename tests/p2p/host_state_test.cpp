#include "skep/p2p/host_state.hpp"

#include "support/hosts.hpp"
// doctest last
#include "support/coroutine.hpp"

using namespace skep_test;
using skep::p2p::HostState;

CO_TEST_CASE("services hear of connections, and of the last one that ends") {
  auto server = listening_host(co_await asio::this_coro::executor);
  const auto client = std::make_shared<HostState>(co_await asio::this_coro::executor, HostOptions{});
  int connected = 0;
  std::vector<PeerId> gone;
  client->hooks.connected = [&](const auto&) { ++connected; };
  client->hooks.disconnected = [&](const PeerId& peer) { gone.push_back(peer); };
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
  while (gone.empty() && client->now() < end) co_await client->sleep_until(client->now() + 2ms);
  CHECK(gone.size() == 1);
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
