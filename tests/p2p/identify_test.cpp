#include "skep/p2p/identify.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "support/hostile.hpp"
#include "support/peers.hpp"
#include "support/vectors.hpp"

using namespace skep;
using namespace skep::p2p;
using skep_test::peer_number;
using skep_test::vector_bytes;

namespace {

Multiaddr at(const char* text) { return Multiaddr::parse(text); }

std::vector<std::string> texts(const std::vector<Multiaddr>& addresses) {
  std::vector<std::string> out;
  for (const auto& address : addresses) out.push_back(address.to_string());
  return out;
}

const char* const loopback = "/ip4/127.0.0.1/tcp/4001";
const char* const nearby = "/ip4/192.168.1.7/tcp/4001";
const char* const global = "/ip4/192.0.2.5/tcp/4001";

SelfDescription somebody() {
  return {.public_key = Bytes(36, 7),
          .addresses = {at(loopback), at(nearby), at(global)},
          .protocols = {"/ipfs/id/1.0.0", "/ipfs/kad/1.0.0", "DHTProtocol.rpc_ping"},
          .agent = "skep/0.1"};
}

/// The messages of a stream, each by itself.
std::vector<codec::IdentifyMessage> messages_of(BytesView stream) {
  std::vector<codec::IdentifyMessage> out;
  while (!stream.empty()) {
    const auto frame = codec::read_frame(stream, IdentifyReader::max_message);
    REQUIRE(frame);
    out.push_back(*codec::IdentifyMessage::decode(frame->body));
    stream = stream.subspan(frame->size);
  }
  return out;
}

Result<PeerDescription> read(BytesView stream, const Multiaddr& remote, std::size_t piece = 1000,
                             const PeerId& peer = peer_number(1)) {
  IdentifyReader reader;
  while (!stream.empty()) {
    const auto fed = reader.feed(stream.first(std::min(piece, stream.size())));
    if (!fed) return fed.error();
    stream = stream.subspan(std::min(piece, stream.size()));
  }
  return std::move(reader).finish(peer, remote);
}

Bytes framed(const codec::IdentifyMessage& message) {
  Bytes out;
  codec::append_frame(out, message.encode());
  return out;
}

}  // namespace

TEST_CASE("what one host writes another one reads") {
  const Bytes stream = encode_identify(somebody(), at(loopback));
  for (const std::size_t piece : {std::size_t{1}, std::size_t{7}, stream.size()}) {
    const auto peer = read(stream, at(loopback), piece);
    REQUIRE(peer);
    CHECK(texts(peer->addresses) == std::vector<std::string>{loopback, nearby, global});
    CHECK(peer->protocols == somebody().protocols);
    CHECK(peer->agent == "skep/0.1");
    REQUIRE(peer->observed);
    CHECK(peer->observed->to_string() == loopback);
  }
}

TEST_CASE("an ordinary answer is one message with all fields that p2pd sends but the signed record") {
  const auto messages = messages_of(encode_identify(
      somebody(), at("/ip4/192.0.2.9/tcp/5000/p2p/12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq")));
  REQUIRE(messages.size() == 1);
  CHECK(messages[0].public_key == Bytes(36, 7));
  CHECK(messages[0].protocol_version == "");
  CHECK(messages[0].agent_version == "skep/0.1");
  CHECK(messages[0].observed_addr == to_bytes(at("/ip4/192.0.2.9/tcp/5000").bytes()));
  CHECK_FALSE(messages[0].signed_peer_record);
}

TEST_CASE("live identify streams of p2pd are understood") {
  for (const char* name : {"p2pd_fresh", "p2pd_push"}) {
    CAPTURE(name);
    const Bytes stream = vector_bytes("identify", name, "stream_bytes");
    for (const std::size_t piece : {std::size_t{1}, stream.size()}) {
      const auto peer = read(stream, at(loopback), piece);
      REQUIRE(peer);
      CHECK(peer->addresses.size() == 1);
      CHECK(peer->addresses[0].is_loopback());
      CHECK(peer->agent == "p2pd/0.1");
      CHECK(std::count(peer->protocols.begin(), peer->protocols.end(), "/ipfs/kad/1.0.0") == 1);
      CHECK(peer->observed);
    }
  }
}

TEST_CASE("addresses are filtered by how the peer is connected, on both sides") {
  const std::vector<Multiaddr> all = somebody().addresses;
  CHECK(texts(addresses_for(all, at("/ip6/::1/tcp/1"))) == std::vector<std::string>{loopback, nearby, global});
  CHECK(texts(addresses_for(all, at("/ip4/10.0.0.1/tcp/1"))) == std::vector<std::string>{nearby, global});
  CHECK(texts(addresses_for(all, at("/ip4/198.51.100.1/tcp/1"))) == std::vector<std::string>{global});
  CHECK(texts(addresses_for({at("/dns4/example.org/tcp/1")}, at(global))).size() == 1);

  CHECK(messages_of(encode_identify(somebody(), at(global)))[0].listen_addrs.size() == 1);
  const auto peer = read(encode_identify(somebody(), at(loopback)), at(nearby));
  REQUIRE(peer);
  CHECK(texts(peer->addresses) == std::vector<std::string>{nearby, global});
}

TEST_CASE("an address that nobody can read or reach spoils only itself") {
  const PeerId self = peer_number(1);
  const auto peer = read(framed({.listen_addrs = {{0xff, 0xff},
                                                  {},
                                                  to_bytes(at("/ip4/0.0.0.0/tcp/1").bytes()),
                                                  to_bytes(at(global).with_peer(self).bytes()),
                                                  to_bytes(at(nearby).with_peer(peer_number(2)).bytes())},
                                 .observed_addr = to_bytes(at(loopback).with_peer(peer_number(3)).bytes())}),
                         at(loopback), 1000, self);
  REQUIRE(peer);
  CHECK(texts(peer->addresses) == std::vector<std::string>{global});
  CHECK(peer->observed->to_string() == loopback);
  const auto blind = read(framed({.observed_addr = Bytes{0xff}}), at(loopback));
  CHECK_FALSE(blind->observed);
}

TEST_CASE("messages merge until the end of the stream, none at all is fine") {
  const auto nothing = read({}, at(loopback));
  REQUIRE(nothing);
  CHECK(nothing->protocols.empty());
  CHECK(read(Bytes{0x00}, at(loopback)));

  Bytes stream = framed({.protocols = {"/a"}, .agent_version = "first"});
  append(stream, framed({.protocols = {"/b"}, .agent_version = "second"}));
  const auto peer = read(stream, at(loopback), 3);
  REQUIRE(peer);
  CHECK(peer->protocols == std::vector<std::string>{"/a", "/b"});
  CHECK(peer->agent == "second");
}

TEST_CASE("limits: 8192 bytes a message, nine messages, an end inside a message") {
  codec::IdentifyMessage large{.protocols = {std::string(8192 - 3, 'x')}};
  CHECK(large.encode().size() == 8192);
  CHECK(read(framed(large), at(loopback)));
  large.protocols[0] += 'x';
  CHECK(read(framed(large), at(loopback)).error() == skep::errc::limit_exceeded);

  Bytes nine;
  for (int i = 0; i < 9; ++i) append(nine, framed({.protocols = {"/p"}}));
  CHECK(read(nine, at(loopback))->protocols.size() == 9);
  append(nine, framed({}));
  CHECK(read(nine, at(loopback)).error() == skep::errc::limit_exceeded);

  const Bytes whole = encode_identify(somebody(), at(loopback));
  for (std::size_t size = 1; size < whole.size(); ++size) {
    CHECK(read(BytesView(whole).first(size), at(loopback)).error() == skep::errc::truncated);
  }
  CHECK(read(skep_test::unhex("020aff"), at(loopback)).error() == skep::errc::malformed);
}

TEST_CASE("many handlers: a first message for peers that read only one, the others behind it") {
  SelfDescription self = somebody();
  for (int i = 0; i < 300; ++i) {
    self.protocols.push_back("ConnectionHandler.rpc_of_a_rather_long_name_" + std::to_string(i));
  }
  const Bytes stream = encode_identify(self, at(loopback));
  const auto messages = messages_of(stream);
  CHECK(messages.size() == 3);
  CHECK(messages[0].encode().size() <= 4096);
  CHECK(messages[0].listen_addrs.size() == 3);
  CHECK(messages[0].protocols[0] == "/ipfs/id/1.0.0");
  const auto peer = read(stream, at(loopback));
  REQUIRE(peer);
  CHECK(peer->protocols == self.protocols);
}

TEST_CASE("what no reader would take is left out") {
  SelfDescription self = somebody();
  for (int i = 0; i < 1000; ++i) self.protocols.push_back(std::string(200, 'x') + std::to_string(i));
  const auto peer = read(encode_identify(self, at(loopback)), at(loopback));
  REQUIRE(peer);
  CHECK(peer->protocols.size() < self.protocols.size());
  CHECK(peer->protocols.size() > 300);
}

TEST_CASE("hostile streams are read or refused") {
  Bytes stream = vector_bytes("identify", "p2pd_fresh", "stream_bytes");
  append(stream, framed({.protocols = {"/another"}}));
  skep_test::for_hostile_bytes(
      stream,
      [](BytesView bytes) {
        const auto peer = read(bytes, at(loopback));
        const auto again = read(bytes, at(loopback), 1);
        CHECK(peer.error() == again.error());
        if (peer) CHECK(peer->protocols == again->protocols);
      },
      300);
}
