#include "skep/p2p/peer_routing.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "skep/core/random.hpp"
#include "support/hostile.hpp"
#include "support/peers.hpp"
#include "support/vectors.hpp"

using namespace skep;
using namespace skep::p2p;
using skep::codec::KadMessage;
using skep::codec::KadPeer;
using skep::codec::KadType;
using skep_test::peer_number;
using skep_test::vector_bytes;

namespace {

Multiaddr at(std::size_t port) { return Multiaddr::parse("/ip4/127.0.0.1/tcp/" + std::to_string(port)); }

KadPeer entry(const PeerId& peer, std::vector<Multiaddr> addresses) {
  KadPeer out{.id = to_bytes(peer.bytes())};
  for (const auto& address : addresses) out.addrs.push_back(to_bytes(address.bytes()));
  return out;
}

KadMessage naming(const PeerId& peer, std::vector<Multiaddr> addresses = {}) {
  return {.type = KadType::find_node, .closer_peers = {entry(peer, std::move(addresses))}, .cluster_level = 1};
}

void admit(PeerRouting& routing, const PeerId& peer) {
  REQUIRE(routing.identified(peer, true));
  CHECK_FALSE(routing.probed(peer, naming(peer)));
}

/// Everybody can be reached at one address.
std::vector<Multiaddr> somewhere(const PeerId&) { return {at(1)}; }

std::vector<PeerId> ids_of(const KadMessage& message) {
  std::vector<PeerId> out;
  for (const auto& peer : message.closer_peers) out.push_back(*PeerId::from_bytes(peer.id));
  return out;
}

const PeerId self = peer_number(0), requester = peer_number(1'000'000);

}  // namespace

TEST_CASE("requests are the bytes that p2pd sends") {
  for (const char* name : {"find_node_self", "find_node_other"}) {
    const auto peer = PeerId::from_bytes(vector_bytes("kad", name, "peer_id"));
    REQUIRE(peer);
    CHECK(find_node_request(peer->bytes()).encode() == vector_bytes("kad", name, "request"));
    CHECK(PeerRouting::probe_request(*peer).encode() == vector_bytes("kad", name, "request"));
  }
}

TEST_CASE("asked for itself or for a neighbour, a host answers as a live p2pd does, byte for byte") {
  const auto asked = *PeerId::from_bytes(vector_bytes("kad", "find_node_self", "peer_id"));
  const auto neighbour = *PeerId::from_bytes(vector_bytes("kad", "find_node_other", "peer_id"));
  const std::map<PeerId, std::vector<Multiaddr>> book{
      {asked, read_closer_peers(*KadMessage::decode(vector_bytes("kad", "find_node_self", "response")))[0].addresses},
      {neighbour,
       read_closer_peers(*KadMessage::decode(vector_bytes("kad", "find_node_other", "response")))[0].addresses}};
  const auto addresses_of = [&](const PeerId& peer) {
    const auto known = book.find(peer);
    return known == book.end() ? std::vector<Multiaddr>() : known->second;
  };
  PeerRouting to_self(asked);
  auto answer =
      to_self.answer(*KadMessage::decode(vector_bytes("kad", "find_node_self", "request")), requester, addresses_of);
  REQUIRE(answer);
  CHECK(answer->encode() == vector_bytes("kad", "find_node_self", "response"));

  PeerRouting other(peer_number(5));
  admit(other, neighbour);
  answer =
      other.answer(*KadMessage::decode(vector_bytes("kad", "find_node_other", "request")), requester, addresses_of);
  REQUIRE(answer);
  CHECK(answer->encode() == vector_bytes("kad", "find_node_other", "response"));
}

TEST_CASE("a peer is admitted when it lists the protocol and answers a probe with at least one entry") {
  PeerRouting routing(self);
  const PeerId peer = peer_number(1);
  CHECK_FALSE(routing.identified(peer, false));
  CHECK(routing.identified(peer, true));
  CHECK_FALSE(routing.identified(peer, true));  // its probe is under way
  CHECK_FALSE(routing.contains(peer));
  CHECK_FALSE(routing.probed(peer, {.type = KadType::find_node}));
  CHECK_FALSE(routing.contains(peer));

  CHECK(routing.identified(peer, true));
  CHECK_FALSE(routing.probed(peer, naming(peer_number(7))));  // what the entry says is not looked at
  CHECK(routing.contains(peer));
  CHECK_FALSE(routing.identified(peer, true));  // it is in: no need to prove it again
  CHECK_FALSE(routing.identified(self, true));
}

TEST_CASE("a probe that fails or another kind of answer admits nobody") {
  PeerRouting routing(self);
  const PeerId peer = peer_number(1);
  CHECK(routing.identified(peer, true));
  routing.failed(peer);
  CHECK_FALSE(routing.contains(peer));
  CHECK(routing.identified(peer, true));
  KadMessage wrong = naming(peer);
  wrong.type = KadType::ping;
  CHECK_FALSE(routing.probed(peer, wrong));
  CHECK_FALSE(routing.contains(peer));
}

TEST_CASE("a peer leaves when a question to it fails or it serves routing no more") {
  PeerRouting routing(self);
  admit(routing, peer_number(1));
  admit(routing, peer_number(2));
  routing.failed(peer_number(1));
  CHECK_FALSE(routing.contains(peer_number(1)));
  CHECK_FALSE(routing.identified(peer_number(2), false));
  CHECK_FALSE(routing.contains(peer_number(2)));
}

TEST_CASE("when a bucket is full, the one heard longest ago has to prove itself") {
  PeerRouting routing(self);
  std::optional<PeerId> question;
  std::uint32_t i = 1;
  while (!question) {
    REQUIRE(routing.identified(peer_number(i), true));
    question = routing.probed(peer_number(i), naming(peer_number(i)));
    ++i;
  }
  const PeerId waiting = peer_number(i - 1);
  CHECK_FALSE(routing.contains(waiting));
  CHECK(routing.contains(*question));
  routing.failed(*question);
  CHECK_FALSE(routing.contains(*question));
  CHECK(routing.contains(waiting));
}

TEST_CASE("an answer names the 20 nearest, never the requester, and the target whether or not it is in the table") {
  PeerRouting routing(self);
  for (std::uint32_t i = 1; i <= 40; ++i) {
    if (routing.identified(peer_number(i), true)) (void)routing.probed(peer_number(i), naming(peer_number(i)));
  }
  const PeerId target = peer_number(777);
  const auto answer = routing.answer(find_node_request(target.bytes()), peer_number(1), somewhere);
  REQUIRE(answer);
  auto ids = ids_of(*answer);
  CHECK(ids.size() == 21);
  CHECK(ids.back() == target);
  CHECK(std::count(ids.begin(), ids.end(), peer_number(1)) == 0);
  ids.pop_back();
  CHECK(std::is_sorted(ids.begin(), ids.end(), [&](const PeerId& x, const PeerId& y) {
    return (routing_id(x) ^ routing_id(target)) < (routing_id(y) ^ routing_id(target));
  }));

  const auto known = ids_of(*routing.answer(find_node_request(peer_number(2).bytes()), requester, somewhere));
  CHECK(known.size() == 20);
  CHECK(std::count(known.begin(), known.end(), peer_number(2)) == 1);
  const auto about_itself = ids_of(*routing.answer(find_node_request(requester.bytes()), requester, somewhere));
  CHECK(about_itself.size() == 20);
  CHECK(std::count(about_itself.begin(), about_itself.end(), requester) == 0);
}

TEST_CASE("peers without known addresses are not named, the host itself always is") {
  PeerRouting routing(self);
  admit(routing, peer_number(1));
  admit(routing, peer_number(2));
  const auto addresses_of = [](const PeerId& peer) {
    return peer == peer_number(2) ? std::vector<Multiaddr>{at(7), at(8)} : std::vector<Multiaddr>();
  };
  const auto answer = routing.answer(find_node_request(peer_number(3).bytes()), requester, addresses_of);
  REQUIRE(answer);
  CHECK(answer->closer_peers == std::vector<KadPeer>{entry(peer_number(2), {at(7), at(8)})});
  const auto own = routing.answer(find_node_request(self.bytes()), requester, addresses_of);
  CHECK(ids_of(*own) == std::vector<PeerId>{self});
}

TEST_CASE("keys are opaque bytes") {
  PeerRouting routing(self);
  admit(routing, peer_number(1));
  for (const Bytes& key : {Bytes{1}, to_bytes("12D3KooW as text"), Bytes(34, 0), Bytes(1000, 7)}) {
    const auto answer = routing.answer(find_node_request(key), requester, somewhere);
    REQUIRE(answer);
    CHECK(ids_of(*answer) == std::vector<PeerId>{peer_number(1)});
  }
  CHECK(routing.answer(find_node_request({}), requester, somewhere).error() == skep::errc::malformed);
}

TEST_CASE("the cluster level comes back, absent or 0 as 1") {
  PeerRouting routing(self);
  for (const auto& [asked, answered] : {std::pair{0, 1}, {1, 1}, {5, 5}, {-3, -3}}) {
    KadMessage request = find_node_request(self.bytes());
    request.cluster_level = asked;
    CHECK(routing.answer(request, requester, somewhere)->cluster_level == answered);
  }
}

TEST_CASE("a ping is echoed, everything else is refused") {
  PeerRouting routing(self);
  const KadMessage ping{.type = KadType::ping, .key = {1, 2}, .cluster_level = 3};
  CHECK(*routing.answer(ping, requester, somewhere) == ping);
  for (const std::uint32_t type : {0U, 1U, 2U, 3U, 6U, 4'000'000'000U}) {
    const KadMessage request{.type = static_cast<KadType>(type), .key = {1}};
    CHECK(routing.answer(request, requester, somewhere).error() == skep::errc::refused);
  }
}

TEST_CASE("entries that cannot be read spoil nothing but themselves") {
  KadMessage message{
      .closer_peers = {{.id = {1, 2, 3}, .addrs = {}},
                       entry(peer_number(1), {at(1), at(2).with_peer(peer_number(1)), at(3).with_peer(peer_number(2))}),
                       entry(peer_number(2), {})}};
  message.closer_peers[1].addrs.insert(message.closer_peers[1].addrs.begin(), Bytes{0xff, 0xff, 0xff});
  message.closer_peers[1].addrs.push_back(to_bytes(Multiaddr::parse("/ip4/0.0.0.0/tcp/1").bytes()));
  CHECK(read_closer_peers(message) == std::vector<RoutedPeer>{{peer_number(1), {at(1), at(2)}}, {peer_number(2), {}}});

  message = {};
  for (std::uint32_t i = 0; i < 200; ++i) {
    message.closer_peers.push_back(entry(peer_number(i), std::vector<Multiaddr>(100, at(1))));
  }
  CHECK(read_closer_peers(message).size() == 64);
  CHECK(read_closer_peers(message)[0].addresses.size() == 16);
}

TEST_CASE("a search asks the table, then whom the answers name, until the target is found") {
  PeerRouting routing(self);
  admit(routing, peer_number(1));
  FindPeer search(routing, peer_number(9));
  CHECK(search.request().key == to_bytes(peer_number(9).bytes()));
  CHECK(search.next() == peer_number(1));
  CHECK_FALSE(search.next());
  CHECK_FALSE(search.finished());

  KadMessage answer = naming(peer_number(2), {at(2)});
  answer.closer_peers.push_back(entry(self, {at(3)}));
  answer.closer_peers.push_back(entry(peer_number(4), {}));  // nowhere: not asked
  const auto learned = search.answered(peer_number(1), answer);
  CHECK(learned == std::vector<RoutedPeer>{{peer_number(2), {at(2)}}, {self, {at(3)}}});
  CHECK(search.found().empty());
  CHECK(search.next() == peer_number(2));
  CHECK_FALSE(search.next());

  (void)search.answered(peer_number(2), naming(peer_number(9), {at(9), at(9)}));
  CHECK(search.found() == std::vector<Multiaddr>{at(9)});
  CHECK(search.finished());
}

TEST_CASE("a search in vain ends; failures do not stop it") {
  PeerRouting routing(self);
  FindPeer nobody(routing, peer_number(9));
  CHECK_FALSE(nobody.next());
  CHECK(nobody.finished());
  nobody.add(peer_number(9));  // the target itself is not asked where it is
  CHECK(nobody.finished());
  nobody.add(peer_number(1));
  nobody.add(peer_number(2));
  const auto first = nobody.next(), second = nobody.next();
  REQUIRE((first && second));
  nobody.failed(*first);
  CHECK_FALSE(nobody.finished());
  (void)nobody.answered(*second, naming(*first, {at(1)}));
  CHECK_FALSE(nobody.next());
  CHECK(nobody.finished());
}

TEST_CASE("no more than ten are asked at once") {
  PeerRouting routing(self);
  FindPeer search(routing, peer_number(9));
  for (std::uint32_t i = 10; i < 60; ++i) search.add(peer_number(i));
  std::size_t asked = 0;
  while (search.next()) ++asked;
  CHECK(asked == FindPeer::max_parallel);
}

TEST_CASE("a liar who invents ever more peers is outlived") {
  PeerRouting routing(self);
  admit(routing, peer_number(1));
  FindPeer search(routing, peer_number(9));
  std::uint32_t invented = 100;
  std::size_t asked = 0;
  while (const auto peer = search.next()) {
    ++asked;
    KadMessage lie{.type = KadType::find_node};
    for (int i = 0; i < 64; ++i) lie.closer_peers.push_back(entry(peer_number(invented++), {at(1)}));
    (void)search.answered(*peer, lie);
  }
  CHECK(search.finished());
  CHECK(asked <= 128);
}

TEST_CASE("in a swarm where everybody knows a few, everybody is found") {
  constexpr std::uint32_t count = 200;
  Random random(3);
  std::vector<PeerRouting> swarm;
  std::map<PeerId, std::size_t> index;
  for (std::uint32_t i = 0; i < count; ++i) {
    swarm.emplace_back(peer_number(i));
    index[peer_number(i)] = i;
  }
  for (auto& routing : swarm) {
    for (int i = 0; i < 60; ++i) {
      const auto peer = peer_number(static_cast<std::uint32_t>(random.below(count)));
      if (routing.identified(peer, true)) (void)routing.probed(peer, naming(peer));
    }
  }
  const auto addresses_of = [&](const PeerId& peer) { return std::vector<Multiaddr>{at(1000 + index.at(peer))}; };
  // a target that only its neighbours know: nobody remembers addresses of whom is not in their table
  std::size_t found = 0, asked = 0;
  for (std::uint32_t round = 0; round < 100; ++round) {
    const auto seeker = static_cast<std::uint32_t>(random.below(count));
    const auto target = static_cast<std::uint32_t>(random.below(count));
    if (seeker == target) continue;
    FindPeer search(swarm[seeker], peer_number(target));
    while (search.found().empty()) {
      const auto peer = search.next();
      if (!peer) break;
      ++asked;
      const auto& server = swarm[index.at(*peer)];
      const auto answer = server.answer(search.request(), peer_number(seeker), [&](const PeerId& named) {
        return server.contains(named) || named == server.self() ? addresses_of(named) : std::vector<Multiaddr>();
      });
      REQUIRE(answer);
      (void)search.answered(*peer, *answer);
    }
    if (search.found() == std::vector<Multiaddr>{at(1000 + target)}) ++found;
  }
  CHECK(found >= 95);
  CHECK(asked < 100 * 20);
}

TEST_CASE("hostile questions are answered or refused") {
  PeerRouting routing(self);
  admit(routing, peer_number(1));
  skep_test::for_hostile_bytes(vector_bytes("kad", "find_node_other", "request"), [&](BytesView bytes) {
    if (const auto request = KadMessage::decode(bytes)) (void)routing.answer(*request, requester, somewhere);
  });
  skep_test::for_hostile_bytes(vector_bytes("kad", "find_node_other", "response"), [&](BytesView bytes) {
    FindPeer search(routing, peer_number(9));
    if (const auto answer = KadMessage::decode(bytes)) (void)search.answered(peer_number(1), *answer);
  });
}
