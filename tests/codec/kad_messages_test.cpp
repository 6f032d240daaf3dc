#include "skep/codec/kad_messages.hpp"

#include <doctest/doctest.h>

#include "skep/codec/frame.hpp"
#include "skep/codec/libp2p_messages.hpp"
#include "support/hostile.hpp"
#include "support/vectors.hpp"

using namespace skep;
using namespace skep::codec;
using skep_test::unhex;
using skep_test::vector_bytes;

TEST_CASE("live FIND_NODE requests and answers are read and written back byte for byte") {
  for (const char* name : {"find_node_self", "find_node_other"}) {
    CAPTURE(name);
    const Bytes id = vector_bytes("kad", name, "peer_id");
    const auto request = KadMessage::decode(vector_bytes("kad", name, "request"));
    REQUIRE(request);
    CHECK(request->type == KadType::find_node);
    CHECK(request->key == id);
    CHECK(request->cluster_level == 1);
    CHECK(request->encode() == vector_bytes("kad", name, "request"));

    const auto answer = KadMessage::decode(vector_bytes("kad", name, "response"));
    REQUIRE(answer);
    REQUIRE(answer->closer_peers.size() == 1);
    CHECK(answer->closer_peers[0].id == id);
    CHECK(answer->closer_peers[0].addrs.size() == 1);
    CHECK(answer->closer_peers[0].connection == 0);
    CHECK(answer->encode() == vector_bytes("kad", name, "response"));
  }
}

TEST_CASE("defaults are not written, an empty peer is") {
  CHECK(KadMessage{}.encode().empty());
  CHECK(to_hex(KadMessage{.type = KadType::ping}.encode()) == "0805");
  CHECK(to_hex(KadMessage{.closer_peers = {KadPeer{}}}.encode()) == "4200");
  CHECK(to_hex(KadMessage{.cluster_level = -1}.encode()) == "50ffffffffffffffffff01");
  CHECK(KadMessage::decode(unhex("50ffffffffffffffffff01"))->cluster_level == -1);
}

TEST_CASE("unknown types and fields are read, as other implementations send them") {
  // type 9; fields 3 (record), 9 (provider), 11 and 4
  const auto message = KadMessage::decode(unhex("0809 1a0161 4a0161 5a0161 220161"));
  REQUIRE(message);
  CHECK(message->type == static_cast<KadType>(9));
  CHECK(message->closer_peers.empty());
}

TEST_CASE("too many peers or addresses are refused") {
  KadMessage message;
  message.closer_peers.assign(KadMessage::max_peers, KadPeer{});
  CHECK(KadMessage::decode(message.encode()));
  message.closer_peers.emplace_back();
  CHECK(KadMessage::decode(message.encode()).error() == errc::limit_exceeded);

  KadMessage addresses{.closer_peers = {KadPeer{}}};
  addresses.closer_peers[0].addrs.assign(KadPeer::max_addresses, Bytes{});
  CHECK(KadMessage::decode(addresses.encode()));
  addresses.closer_peers[0].addrs.emplace_back();
  CHECK(KadMessage::decode(addresses.encode()).error() == errc::limit_exceeded);
}

TEST_CASE("the signed peer record of a live p2pd") {
  const Bytes stream = vector_bytes("identify", "p2pd_fresh", "stream_bytes");
  const auto identify = IdentifyMessage::decode(read_frame(stream, 8192)->body);
  REQUIRE(identify);
  const auto envelope = SignedEnvelope::decode(*identify->signed_peer_record);
  REQUIRE(envelope);
  CHECK(envelope->encode() == *identify->signed_peer_record);
  CHECK(envelope->public_key == *identify->public_key);
  CHECK(to_hex(envelope->payload_type) == "0301");
  CHECK(envelope->signature.size() == 64);

  const auto record = PeerRecord::decode(envelope->payload);
  REQUIRE(record);
  CHECK(record->encode() == envelope->payload);
  CHECK(record->peer_id == vector_bytes("identify", "p2pd_fresh", "remote_peer_id"));
  CHECK(record->sequence > 1'600'000'000'000'000'000U);
  CHECK(record->addrs == identify->listen_addrs);

  const Bytes to_sign = envelope->signed_bytes(PeerRecord::domain);
  CHECK(to_hex(to_sign).starts_with("12" + to_hex(as_bytes("libp2p-peer-record")) + "020301"));
  CHECK(to_sign.size() == 19 + 3 + varint_size(envelope->payload.size()) + envelope->payload.size());
}

TEST_CASE("hostile messages are read or refused") {
  const Bytes kad = vector_bytes("kad", "find_node_other", "response");
  skep_test::for_hostile_bytes(kad, [](BytesView bytes) {
    const auto message = KadMessage::decode(bytes);
    if (message) CHECK(*KadMessage::decode(message->encode()) == *message);
  });
  const auto identify =
      IdentifyMessage::decode(read_frame(vector_bytes("identify", "p2pd_fresh", "stream_bytes"), 8192)->body);
  skep_test::for_hostile_bytes(*identify->signed_peer_record, [](BytesView bytes) {
    if (const auto envelope = SignedEnvelope::decode(bytes)) (void)PeerRecord::decode(envelope->payload);
  });
}
