#include "skep/p2p/connection_table.hpp"

#include "support/coroutine.hpp"
#include "support/hosts.hpp"

#include <doctest/doctest.h>

using skep::p2p::Connection;
using skep::p2p::ConnectionTable;

namespace {

/// A connection whose socket leads nowhere.
std::shared_ptr<Connection> connection_to(const std::shared_ptr<skep::p2p::HostState>& state,
                                          const skep::p2p::PeerId& peer) {
  const skep::crypto::Secret<32> key;
  return std::make_shared<Connection>(state, skep::p2p::Upgraded{asio::ip::tcp::socket(state->executor()),
                                                                 skep::p2p::NoiseTransport(key, key),
                                                                 peer,
                                                                 skep::p2p::yamux::Role::dialer,
                                                                 {},
                                                                 {}});
}

}  // namespace

CO_TEST_CASE("several connections to a peer, the oldest that is open is used") {
  const auto state =
      std::make_shared<skep::p2p::HostState>(co_await asio::this_coro::executor, skep::p2p::HostOptions{});
  const auto alice = skep::p2p::Identity::generate().id();
  const auto bob = skep::p2p::Identity::generate().id();
  ConnectionTable table;
  const auto first = connection_to(state, alice);
  const auto second = connection_to(state, alice);
  const auto other = connection_to(state, bob);
  for (const auto& one : {first, second, other}) table.insert(one);
  CHECK(table.size() == 3);
  CHECK(table.count(alice) == 2);
  CHECK(table.find(alice) == first);
  CHECK(table.find(bob) == other);
  CHECK(table.peers().size() == 2);
  CHECK(table.all().size() == 3);
  first->close(skep::errc::closed);
  CHECK(table.find(alice) == second);
  CHECK(table.erase(*first));
  CHECK_FALSE(table.erase(*first));
  CHECK(table.erase(*second));
  CHECK(table.find(alice) == nullptr);
  CHECK(table.count(alice) == 0);
  CHECK(table.peers() == std::vector{bob});
  CHECK(table.size() == 1);
}
