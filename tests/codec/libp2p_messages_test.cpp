#include "skep/codec/libp2p_messages.hpp"

#include <doctest/doctest.h>

#include <string>

#include "skep/codec/frame.hpp"
#include "support/hostile.hpp"
#include "support/vectors.hpp"

using namespace skep;
using namespace skep::codec;
using skep_test::unhex;
using skep_test::vector_bytes;

TEST_CASE("an Ed25519 public key message has 36 bytes") {
  const Bytes bytes = unhex("080112201ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e");
  const auto key = PublicKeyMessage::decode(bytes);
  REQUIRE(key);
  CHECK(key->type == KeyType::ed25519);
  CHECK(key->data.size() == 32);
  CHECK(key->encode() == bytes);
}

TEST_CASE("an RSA key message keeps its type 0, or its peer id would change") {
  const Bytes bytes = vector_bytes("identity", "rsa_peer", "public_message");
  const auto key = PublicKeyMessage::decode(bytes);
  REQUIRE(key);
  CHECK(key->type == KeyType::rsa);
  CHECK(key->encode() == bytes);
  CHECK(to_hex(PublicKeyMessage{.type = KeyType::rsa, .data = {}}.encode()) == "08001200");
}

TEST_CASE("a Hivemind identity file is one private key message") {
  const Bytes bytes = vector_bytes("identity", "rsa_peer", "identity_file");
  const auto key = PrivateKeyMessage::decode(bytes);
  REQUIRE(key);
  CHECK(key->type == KeyType::rsa);
  CHECK(key->encode() == bytes);
}

TEST_CASE("a key without type, without data or of an unknown type is refused") {
  for (const char* hex : {"", "0801", "120101", "0804120101", "08ffffffff0f120101", "0a01011201aa"}) {
    CAPTURE(hex);
    CHECK(PublicKeyMessage::decode(unhex(hex)).error() == errc::malformed);
  }
  CHECK(PublicKeyMessage::decode(unhex("08011200")));
}

TEST_CASE("the Noise payload of a live RSA peer") {
  const Bytes bytes = vector_bytes("identity", "rsa_peer", "noise_payload");
  const auto payload = NoiseHandshakePayload::decode(bytes);
  REQUIRE(payload);
  CHECK(payload->identity_key == vector_bytes("identity", "rsa_peer", "public_message"));
  CHECK(payload->identity_sig.size() == 256);
  CHECK(payload->stream_muxers == std::vector<std::string>{"/yamux/1.0.0"});
  CHECK(payload->encode() == bytes);
}

TEST_CASE("Noise extensions: absent, empty, of several parts, with unknown fields") {
  CHECK(to_hex(NoiseHandshakePayload{{}, {}, {"/yamux/1.0.0"}}.encode()) == "220e120c2f79616d75782f312e302e30");
  CHECK(NoiseHandshakePayload{}.encode().empty());
  const auto muxers = [](const char* hex) {
    const auto payload = NoiseHandshakePayload::decode(unhex(hex));
    REQUIRE(payload);
    return payload->stream_muxers;
  };
  CHECK(muxers("").empty());
  CHECK(muxers("2200").empty());
  CHECK(muxers("2206 0a0101 120161") == std::vector<std::string>{"a"});                 // a certificate hash before it
  CHECK(muxers("2203120161 1a0100 2203120162") == std::vector<std::string>{"a", "b"});  // merged; field 3 is old
  CHECK(NoiseHandshakePayload::decode(unhex("2203120561")).error() == errc::malformed);
}

TEST_CASE("more than 100 muxers count as none") {
  NoiseHandshakePayload payload;
  payload.stream_muxers.assign(100, "/x");
  CHECK(NoiseHandshakePayload::decode(payload.encode())->stream_muxers.size() == 100);
  payload.stream_muxers.emplace_back("/yamux/1.0.0");
  CHECK(NoiseHandshakePayload::decode(payload.encode())->stream_muxers.empty());
}

TEST_CASE("live identify messages are read and written back byte for byte") {
  for (const char* name : {"p2pd_fresh", "p2pd_push"}) {
    CAPTURE(name);
    const Bytes stream = vector_bytes("identify", name, "stream_bytes");
    const auto frame = read_frame(stream, 8192);
    REQUIRE(frame);
    const auto message = IdentifyMessage::decode(frame->body);
    REQUIRE(message);
    REQUIRE(message->public_key);
    CHECK(message->public_key->size() == 36);
    CHECK(message->listen_addrs.size() == 1);
    CHECK(message->protocols.size() >= 7);
    CHECK(message->protocols.front() == "/ipfs/id/1.0.0");
    CHECK(message->observed_addr);
    CHECK(message->protocol_version == "");
    CHECK(message->agent_version == "p2pd/0.1");
    CHECK(message->signed_peer_record);
    CHECK(message->encode() == to_bytes(frame->body));
  }
}

TEST_CASE("parts of an identify message merge: single fields are replaced, lists grow") {
  IdentifyMessage message;
  CHECK(message.merge(IdentifyMessage{.listen_addrs = {{1}}, .protocols = {"/a"}, .agent_version = "x"}.encode()));
  CHECK(message.merge(IdentifyMessage{.listen_addrs = {{2}}, .protocols = {"/b"}, .agent_version = "y"}.encode()));
  CHECK(message.merge({}));
  CHECK(message == IdentifyMessage{.listen_addrs = {{1}, {2}}, .protocols = {"/a", "/b"}, .agent_version = "y"});
}

TEST_CASE("a message without fields is legal, too many entries are not") {
  CHECK(*IdentifyMessage::decode({}) == IdentifyMessage{});
  IdentifyMessage message;
  message.protocols.assign(IdentifyMessage::max_protocols, "/p");
  message.listen_addrs.assign(IdentifyMessage::max_addresses, Bytes{1});
  CHECK(IdentifyMessage::decode(message.encode()));
  IdentifyMessage more = message;
  more.protocols.emplace_back("/q");
  CHECK(IdentifyMessage::decode(more.encode()).error() == errc::limit_exceeded);
  message.listen_addrs.emplace_back();
  CHECK(IdentifyMessage::decode(message.encode()).error() == errc::limit_exceeded);
}

TEST_CASE("hostile messages are read or refused") {
  const Bytes key = vector_bytes("identity", "rsa_peer", "public_message");
  skep_test::for_hostile_bytes(key, [](BytesView bytes) { (void)PublicKeyMessage::decode(bytes); });
  const Bytes payload = vector_bytes("identity", "rsa_peer", "noise_payload");
  skep_test::for_hostile_bytes(payload, [](BytesView bytes) { (void)NoiseHandshakePayload::decode(bytes); });
  Bytes identify = vector_bytes("identify", "p2pd_fresh", "stream_bytes");
  identify.erase(identify.begin(), identify.begin() + 2);
  skep_test::for_hostile_bytes(identify, [](BytesView bytes) {
    const auto message = IdentifyMessage::decode(bytes);
    if (message) CHECK(*IdentifyMessage::decode(message->encode()) == *message);
  });
}
