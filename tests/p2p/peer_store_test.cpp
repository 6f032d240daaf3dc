#include "skep/p2p/peer_store.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "skep/core/random.hpp"
#include "support/peers.hpp"

using namespace skep;
using namespace skep::p2p;
using skep_test::peer_number;

namespace {

Multiaddr at(int port) { return Multiaddr::parse("/ip4/192.0.2.5/tcp/" + std::to_string(port)); }

SteadyTime second(std::int64_t s) { return SteadyTime(std::chrono::seconds(s)); }

std::vector<Multiaddr> list(std::initializer_list<int> ports) {
  std::vector<Multiaddr> out;
  for (const int port : ports) out.push_back(at(port));
  return out;
}

const PeerId a = peer_number(1), b = peer_number(2);

}  // namespace

TEST_CASE("addresses live until they expire, the longer of two lives counts") {
  PeerStore store;
  store.add_address(a, at(1), second(0), second(10));
  store.add_address(a, at(2), second(0), SteadyTime::max());
  store.add_address(a, at(1), second(0), second(20));
  store.add_address(a, at(1), second(0), second(5));
  CHECK(store.addresses(a, second(19)) == list({1, 2}));
  CHECK(store.addresses(a, second(20)) == list({2}));
  CHECK(store.addresses(b, second(0)).empty());
  store.add_address(b, at(1), second(5), second(5));
  CHECK(store.size() == 1);
}

TEST_CASE("the peer at the end of an address makes no difference") {
  PeerStore store;
  store.add_address(a, at(1).with_peer(a), second(0), second(10));
  store.add_address(a, at(1), second(0), second(10));
  CHECK(store.addresses(a, second(1)) == list({1}));
  store.dial_failed(a, at(1).with_peer(a), second(1));
  CHECK(store.dialable(a, second(1)).empty());
}

TEST_CASE("what a peer tells about itself lives as long as the connection and half an hour longer") {
  PeerStore store;
  store.connected(a);
  store.identified(a, list({1}), {"/kad", "/a"}, second(0));
  CHECK(store.addresses(a, second(1'000'000)) == list({1}));
  store.disconnected(a, second(1'000'000));
  CHECK(store.addresses(a, second(1'000'000 + 1799)) == list({1}));
  CHECK(store.addresses(a, second(1'000'000 + 1800)).empty());
}

TEST_CASE("protocols are known while the peer is connected, and replaced by what it says later") {
  PeerStore store;
  CHECK_FALSE(store.supports(a, "/kad"));
  store.identified(a, list({1}), {"/kad"}, second(0));  // not connected any more: too late
  CHECK_FALSE(store.supports(a, "/kad"));
  CHECK(store.size() == 0);

  store.connected(a);
  store.connected(a);
  CHECK(store.is_connected(a));
  store.identified(a, {}, {"/kad", "/b", "/a"}, second(0));
  CHECK(store.supports(a, "/kad"));
  CHECK(store.supports(a, "/a"));
  store.identified(a, {}, {"/c"}, second(0));
  CHECK_FALSE(store.supports(a, "/kad"));
  CHECK(store.supports(a, "/c"));
  store.disconnected(a, second(1));
  CHECK(store.supports(a, "/c"));
  store.disconnected(a, second(1));
  CHECK_FALSE(store.is_connected(a));
  CHECK_FALSE(store.supports(a, "/c"));
  CHECK(store.size() == 0);  // nothing was worth remembering
  store.disconnected(a, second(1));
}

TEST_CASE("an address that the peer no longer tells is forgotten after its time") {
  PeerStore store;
  store.connected(a);
  store.identified(a, list({1, 2}), {}, second(0));
  store.identified(a, list({2}), {}, second(100));
  CHECK(store.addresses(a, second(101)) == list({1, 2}));
  CHECK(store.addresses(a, second(1801)) == list({2}));
}

TEST_CASE("dial back-off: 5 s and the square of the failures, at most five minutes") {
  CHECK(dial_back_off(0) == 0s);
  CHECK(dial_back_off(1) == 6s);
  CHECK(dial_back_off(2) == 9s);
  CHECK(dial_back_off(17) == 294s);
  CHECK(dial_back_off(18) == 5min);
  CHECK(dial_back_off(4'000'000'000) == 5min);
}

TEST_CASE("a failed address is left alone for a while, longer each time") {
  PeerStore store;
  store.add_address(a, at(1), second(0), SteadyTime::max());
  store.add_address(a, at(2), second(0), SteadyTime::max());
  store.dial_failed(a, at(1), second(100));
  CHECK(store.dialable(a, second(105)) == list({2}));
  CHECK(store.dialable(a, second(106)) == list({2, 1}));  // the one that never failed comes first
  CHECK(store.dialable_at(a, second(100)) == second(100));
  store.dial_failed(a, at(2), second(100));
  CHECK(store.dialable(a, second(105)).empty());
  CHECK(store.dialable_at(a, second(105)) == second(106));

  store.dial_failed(a, at(1), second(106));
  CHECK(store.dialable(a, second(114)) == list({2}));
  CHECK(store.dialable(a, second(115)) == list({2, 1}));
  store.dial_succeeded(a, at(1));
  CHECK(store.dialable(a, second(107)) == list({1, 2}));
  CHECK(store.addresses(a, second(107)) == list({1, 2}));  // others are told all of them
}

TEST_CASE("a failure of long ago is forgiven") {
  PeerStore store;
  store.add_address(a, at(1), second(0), SteadyTime::max());
  for (int i = 0; i < 5; ++i) store.dial_failed(a, at(1), second(0));
  CHECK(store.dialable_at(a, second(0)) == second(30));
  store.dial_failed(a, at(1), second(1000));
  CHECK(store.dialable_at(a, second(1000)) == second(1006));
  store.dial_failed(a, at(9), second(1000));  // unknown ones are nobody's business
  store.dial_failed(b, at(1), second(1000));
}

TEST_CASE("what is no TCP address is remembered but not dialled") {
  PeerStore store;
  const auto relayed = Multiaddr::parse("/ip4/192.0.2.5/tcp/1/p2p/" + b.to_string() + "/p2p-circuit");
  const auto quic = Multiaddr::parse("/ip4/192.0.2.5/udp/1/quic-v1");
  store.add_address(a, relayed, second(0), second(10));
  store.add_address(a, quic, second(0), second(10));
  CHECK(store.addresses(a, second(1)).size() == 2);
  CHECK(store.dialable(a, second(1)).empty());
  CHECK_FALSE(store.dialable_at(a, second(1)));
}

TEST_CASE("addresses of one peer are bounded: what is forgotten first gives way") {
  PeerStore store({.addresses = 3});
  store.connected(a);
  store.identified(a, list({1}), {}, second(0));
  store.add_address(a, at(2), second(0), second(50));
  store.add_address(a, at(3), second(0), second(40));
  store.add_address(a, at(4), second(0), second(30));  // lives shorter than all others
  CHECK(store.addresses(a, second(1)) == list({1, 2, 3}));
  store.add_address(a, at(5), second(0), second(60));
  CHECK(store.addresses(a, second(1)) == list({1, 2, 5}));
  store.add_address(a, at(6), second(55), second(58));  // the expired one makes room
  CHECK(store.addresses(a, second(55)) == list({1, 5, 6}));
  const auto long_name = Multiaddr::parse("/dns4/" + std::string(600, 'x') + "/tcp/1");
  store.add_address(b, long_name, second(0), second(10));
  CHECK(store.addresses(b, second(0)).empty());
}

TEST_CASE("the book is bounded: who would be forgotten first gives way, connected peers never") {
  PeerStore store({.peers = 3});
  store.connected(peer_number(100));
  store.connected(peer_number(101));
  for (std::uint32_t i = 0; i < 3; ++i) store.add_address(peer_number(i), at(1), second(0), second(10 + i));
  CHECK(store.size() == 5);
  store.add_address(peer_number(3), at(1), second(0), second(9));  // lives shorter than all others
  CHECK(store.addresses(peer_number(3), second(1)).empty());
  store.add_address(peer_number(4), at(1), second(0), second(60));
  CHECK(store.addresses(peer_number(4), second(1)).size() == 1);
  CHECK(store.addresses(peer_number(0), second(1)).empty());
  CHECK(store.size() == 5);
  store.add_address(peer_number(5), at(1), second(30), second(40));  // the expired ones make room
  CHECK(store.size() == 4);
  CHECK(store.is_connected(peer_number(100)));

  store.connected(b);
  store.identified(b, list({1}), {}, second(30));
  store.add_address(peer_number(6), at(1), second(30), second(40));
  store.disconnected(b, second(31));  // one more than may be idle: the first to be forgotten goes
  CHECK(store.addresses(b, second(31)) == list({1}));
  CHECK(store.addresses(peer_number(5), second(31)).size() + store.addresses(peer_number(6), second(31)).size() == 1);
}

TEST_CASE("a flood of rumours neither grows the book nor drives out who was met") {
  PeerStore store({.peers = 50});
  store.connected(a);
  store.identified(a, list({1}), {}, second(0));
  store.disconnected(a, second(0));
  Random random(1);
  for (std::uint32_t i = 10; i < 3000; ++i) {
    store.add_address(peer_number(i), at(static_cast<int>(random.below(60000)) + 1), second(0), second(120));
  }
  CHECK(store.size() == 50);
  CHECK(store.addresses(a, second(1)) == list({1}));
}

TEST_CASE("the program that a connected peer says it is, as long as it is connected") {
  PeerStore store;
  store.set_agent(a, "unknown");
  CHECK(store.agent(a).empty());
  store.connected(a);
  store.identified(a, list({1}), {}, second(0));
  store.set_agent(a, "skep/0.1");
  CHECK(store.agent(a) == "skep/0.1");
  store.set_agent(a, std::string(1000, 'x'));
  CHECK(store.agent(a) == std::string(128, 'x'));
  store.disconnected(a, second(1));
  CHECK(store.agent(a).empty());
}
