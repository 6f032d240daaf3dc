#include "skep/p2p/noise.hpp"

#include <doctest/doctest.h>

#include "support/vectors.hpp"

using skep::as_bytes;
using skep::Bytes;
using skep::BytesView;
using skep::MutableBytes;
using skep::crypto::Secret;
using skep::crypto::X25519KeyPair;
using skep::p2p::errc;
using skep::p2p::Identity;
using skep::p2p::NoiseCredentials;
using skep::p2p::NoiseHandshake;
using skep::p2p::NoiseTransport;
using skep::p2p::PeerId;
using skep_test::unhex;
using skep_test::vector_of;

using Role = NoiseHandshake::Role;
using Json = nlohmann::json;

namespace {

Bytes hex_at(const Json& object, const char* key) { return unhex(object.at(key).get<std::string>()); }
Secret<32> secret_at(const Json& object, const char* key) {
  const Bytes bytes = hex_at(object, key);
  return Secret<32>(BytesView(bytes).first<32>());
}

std::shared_ptr<const NoiseCredentials> credentials(const Identity& identity,
                                                    std::vector<std::string> muxers = {"/yamux/1.0.0"}) {
  return std::make_shared<const NoiseCredentials>(identity, std::move(muxers));
}

/// The side of a recorded handshake that is ours.
NoiseHandshake recorded(Role role, const Json& vector, const char* seed, const char* static_key, const char* ephemeral,
                        const PeerId& expected = {}) {
  const auto keys = std::make_shared<const NoiseCredentials>(Identity::from_seed(secret_at(vector, seed)),
                                                             std::vector<std::string>{"/yamux/1.0.0"},
                                                             X25519KeyPair(secret_at(vector, static_key)));
  return NoiseHandshake(role, keys, expected, X25519KeyPair(secret_at(vector, ephemeral)));
}

Bytes framed(BytesView message) {
  Bytes frame(2);
  skep::store_be(frame.data(), static_cast<std::uint16_t>(message.size()));
  skep::append(frame, message);
  return frame;
}

Bytes seal(NoiseTransport& transport, BytesView plain) {
  Bytes out(NoiseTransport::sealed_size(plain.size()));
  REQUIRE(transport.seal(std::span(&plain, 1), out));
  return out;
}

Bytes open(NoiseTransport& transport, Bytes record) {
  const auto opened = transport.open(record);
  REQUIRE(opened);
  CHECK(opened->consumed == record.size());
  return skep::to_bytes(opened->plain);
}

/// Carries messages to and fro until nobody has anything to say; the first failure ends it.
std::error_code converse(NoiseHandshake& initiator, NoiseHandshake& responder) {
  Bytes forth;
  Bytes back;
  initiator.start(forth);
  responder.start(back);
  while (!forth.empty() || !back.empty()) {
    Bytes answer;
    if (const auto taken = responder.receive(forth, answer); !taken) return taken.error();
    forth.clear();
    skep::append(back, answer);
    if (const auto taken = initiator.receive(back, forth); !taken) return taken.error();
    back.clear();
  }
  return {};
}

}  // namespace

TEST_CASE("a handshake with fixed keys gives the recorded bytes on both sides") {
  const auto vector = vector_of("noise", "xx_both_sides");
  auto initiator =
      recorded(Role::initiator, vector, "identity_seed_initiator", "static_initiator", "ephemeral_initiator");
  auto responder =
      recorded(Role::responder, vector, "identity_seed_responder", "static_responder", "ephemeral_responder");
  const auto message = [&](std::size_t i) { return framed(hex_at(vector["messages"][i], "bytes")); };

  Bytes out;
  initiator.start(out);
  CHECK(out == message(0));
  out.clear();
  CHECK(*responder.receive(message(0), out) == 34);
  CHECK(out == message(1));
  CHECK(out.size() == 2 + 216);
  out.clear();
  CHECK(*initiator.receive(message(1), out) == 218);
  CHECK(out == message(2));
  CHECK(out.size() == 2 + 184);
  CHECK(initiator.done());
  out.clear();
  CHECK(!responder.done());
  CHECK(*responder.receive(message(2), out) == 186);
  CHECK(out.empty());
  CHECK(responder.done());

  CHECK(skep::to_hex(initiator.handshake_hash()) == vector["handshake_hash"].get<std::string>());
  CHECK(initiator.handshake_hash() == responder.handshake_hash());
  CHECK(initiator.peer() == Identity::from_seed(secret_at(vector, "identity_seed_responder")).id());
  CHECK(responder.peer() == Identity::from_seed(secret_at(vector, "identity_seed_initiator")).id());
  CHECK(initiator.muxer() == "/yamux/1.0.0");
  CHECK(responder.muxer() == "/yamux/1.0.0");

  auto from_initiator = initiator.transport();
  auto from_responder = responder.transport();
  const auto check_records = [](const Json& records, NoiseTransport& sender, NoiseTransport& receiver) {
    // record 1 is empty; `seal` never makes one, so the sending side is only followed up to there
    CHECK(seal(sender, hex_at(records[0], "plain")) == hex_at(records[0], "frame"));
    CHECK(open(receiver, hex_at(records[0], "frame")) == hex_at(records[0], "plain"));
    CHECK(open(receiver, hex_at(records[1], "frame")).empty());
  };
  check_records(vector["transport"]["initiator"], from_initiator, from_responder);
  check_records(vector["transport"]["responder"], from_responder, from_initiator);
}

TEST_CASE("the largest record is sealed as recorded") {
  const auto vector = vector_of("noise", "xx_both_sides");
  const Bytes plain(65519, 0);
  for (const auto& [side, key] :
       {std::pair{"initiator", "key_initiator_to_responder"}, std::pair{"responder", "key_responder_to_initiator"}}) {
    const Json& record = vector["transport"][side][2];
    Bytes frame{0xff, 0xff};
    frame.resize(2 + 65535);
    REQUIRE(skep::crypto::AeadSealer(secret_at(vector, key)).seal(2, {}, plain, frame.data() + 2));
    CHECK(frame.size() == record["frame_length"].get<std::size_t>());
    CHECK(skep::to_hex(skep::crypto::sha256(frame)) == record["frame_sha256"].get<std::string>());
  }
}

TEST_CASE("a live p2pd is dialled") {
  const auto vector = vector_of("noise", "noise_xx_initiator");
  const PeerId p2pd = *PeerId::from_text(vector["remote_peer_id_text"].get<std::string>());
  auto ours = recorded(Role::initiator, vector, "identity_seed", "static_private", "ephemeral_private", p2pd);
  Bytes out;
  ours.start(out);
  CHECK(out == framed(hex_at(vector["messages"][0], "bytes")));
  out.clear();
  REQUIRE(ours.receive(framed(hex_at(vector["messages"][1], "bytes")), out));
  CHECK(out == framed(hex_at(vector["messages"][2], "bytes")));
  REQUIRE(ours.done());
  CHECK(ours.peer() == p2pd);
  CHECK(ours.muxer() == "/yamux/1.0.0");
  CHECK(skep::to_hex(ours.handshake_hash()) == vector["handshake_hash"].get<std::string>());
  auto transport = ours.transport();
  for (const Json& record : vector["transport_from_p2pd"]) {
    CHECK(open(transport, hex_at(record, "frame")) == hex_at(record, "plain"));
  }
  for (const Json& record : vector["transport_from_us"]) {
    CHECK(seal(transport, hex_at(record, "plain")) == hex_at(record, "frame"));
  }
}

TEST_CASE("a live p2pd dials") {
  const auto vector = vector_of("noise", "noise_xx_responder");
  auto ours = recorded(Role::responder, vector, "identity_seed", "static_private", "ephemeral_private");
  Bytes out;
  ours.start(out);
  CHECK(out.empty());
  REQUIRE(ours.receive(framed(hex_at(vector["messages"][0], "bytes")), out));
  CHECK(out == framed(hex_at(vector["messages"][1], "bytes")));
  REQUIRE(ours.receive(framed(hex_at(vector["messages"][2], "bytes")), out));
  REQUIRE(ours.done());
  CHECK(ours.peer().to_string() == vector["remote_peer_id_text"].get<std::string>());
  auto transport = ours.transport();
  for (const Json& record : vector["transport_from_p2pd"]) {
    CHECK(open(transport, hex_at(record, "frame")) == hex_at(record, "plain"));
  }
  for (const Json& record : vector["transport_from_us"]) {
    CHECK(seal(transport, hex_at(record, "plain")) == hex_at(record, "frame"));
  }
}

TEST_CASE("messages may be cut anywhere, and the records after them are left alone") {
  const auto alice = credentials(Identity::generate());
  const auto bob = credentials(Identity::generate());
  for (const std::size_t piece : {1UL, 2UL, 3UL, 33UL, 100UL, 1000UL}) {
    CAPTURE(piece);
    NoiseHandshake initiator(Role::initiator, alice);
    NoiseHandshake responder(Role::responder, bob);
    const auto feed = [piece](NoiseHandshake& side, BytesView bytes, Bytes& out) {
      Bytes pending;
      for (std::size_t at = 0; at < bytes.size(); at += piece) {
        skep::append(pending, bytes.subspan(at, std::min(piece, bytes.size() - at)));
        const auto taken = side.receive(pending, out);
        REQUIRE(taken);
        pending.erase(pending.begin(), pending.begin() + static_cast<std::ptrdiff_t>(*taken));
      }
      return pending;
    };
    Bytes forth;
    Bytes back;
    initiator.start(forth);
    CHECK(feed(responder, forth, back).empty());
    forth.clear();
    CHECK(feed(initiator, back, forth).empty());
    auto transport = initiator.transport();
    const Bytes record = seal(transport, as_bytes("early"));
    skep::append(forth, record);
    back.clear();
    CHECK(feed(responder, forth, back) == record);
    auto other = responder.transport();
    CHECK(skep::as_text(open(other, record)) == "early");
  }
}

TEST_CASE("the dialled peer must be who answers") {
  const Identity bob = Identity::generate();
  const Identity mallory = Identity::generate();
  const auto alice = credentials(Identity::generate());
  {
    NoiseHandshake initiator(Role::initiator, alice, bob.id());
    NoiseHandshake responder(Role::responder, credentials(bob));
    CHECK(!converse(initiator, responder));
    CHECK(initiator.peer() == bob.id());
  }
  NoiseHandshake initiator(Role::initiator, alice, bob.id());
  NoiseHandshake responder(Role::responder, credentials(mallory));
  CHECK(converse(initiator, responder) == errc::wrong_peer);
  CHECK(!initiator.done());
  CHECK(!responder.done());  // message 3, which names us, was not sent
}

TEST_CASE("an RSA identity takes part on either side") {
  const auto rsa = Identity::from_private_key_message(hex_at(vector_of("identity", "rsa_peer"), "identity_file"));
  const auto ours = credentials(Identity::generate());
  const auto theirs = credentials(*rsa);
  {
    NoiseHandshake initiator(Role::initiator, ours, rsa->id());
    NoiseHandshake responder(Role::responder, theirs);
    Bytes request;
    Bytes answer;
    initiator.start(request);
    REQUIRE(responder.receive(request, answer));
    CHECK(answer.size() == 2 + 673);
    request.clear();
    REQUIRE(initiator.receive(answer, request));
    CHECK(initiator.done());
  }
  NoiseHandshake initiator(Role::initiator, theirs);
  NoiseHandshake responder(Role::responder, ours);
  CHECK(!converse(initiator, responder));
  CHECK(responder.peer() == rsa->id());
}

TEST_CASE("the multiplexer is the initiator's first that both name, or is left to multistream-select") {
  const auto chosen = [](std::vector<std::string> initiators, std::vector<std::string> responders) {
    NoiseHandshake initiator(Role::initiator, credentials(Identity::generate(), std::move(initiators)));
    NoiseHandshake responder(Role::responder, credentials(Identity::generate(), std::move(responders)));
    REQUIRE(!converse(initiator, responder));
    CHECK(initiator.muxer() == responder.muxer());
    return initiator.muxer();
  };
  CHECK(chosen({"/a", "/b", "/c"}, {"/c", "/b"}) == "/b");
  CHECK(chosen({"/mplex/6.7.0", "/yamux/1.0.0"}, {"/yamux/1.0.0"}) == "/yamux/1.0.0");
  CHECK(chosen({"/a"}, {"/b"}).empty());
  CHECK(chosen({}, {"/yamux/1.0.0"}).empty());
  CHECK(chosen({"/yamux/1.0.0"}, {}).empty());
}

TEST_CASE("no altered message is accepted") {
  const auto alice = credentials(Identity::generate());
  const auto bob = credentials(Identity::generate());
  const X25519KeyPair alice_key = X25519KeyPair::generate();
  const X25519KeyPair bob_key = X25519KeyPair::generate();
  Bytes request;
  Bytes response;
  Bytes confirmation;
  NoiseHandshake initiator(Role::initiator, alice, {}, alice_key);
  NoiseHandshake responder(Role::responder, bob, {}, bob_key);
  initiator.start(request);
  REQUIRE(responder.receive(request, response));
  REQUIRE(initiator.receive(response, confirmation));

  const auto accepted = [&](Bytes first, Bytes second, Bytes third) {
    NoiseHandshake a(Role::initiator, alice, {}, alice_key);
    NoiseHandshake b(Role::responder, bob, {}, bob_key);
    Bytes out;
    a.start(out);
    out.clear();
    return b.receive(first, out) && a.receive(second, out) && b.receive(third, out) && a.done() && b.done();
  };
  CHECK(accepted(request, response, confirmation));
  for (std::size_t i = 2; i < request.size(); i += 5) {
    Bytes altered = request;
    altered[i] ^= 1;
    CHECK(!accepted(altered, response, confirmation));
  }
  for (std::size_t i = 0; i < response.size(); i += 5) {
    Bytes altered = response;
    altered[i] ^= 1;
    CHECK(!accepted(request, altered, confirmation));
  }
  for (std::size_t i = 0; i < confirmation.size(); i += 5) {
    Bytes altered = confirmation;
    altered[i] ^= 1;
    CHECK(!accepted(request, response, altered));
  }
}

namespace {

/// A responder that says what a test wants in message 2.
Bytes hostile_response(const Bytes& request, const X25519KeyPair& static_key, BytesView payload) {
  skep::p2p::detail::NoiseSymmetricState state;
  const X25519KeyPair ephemeral = X25519KeyPair::generate();
  const auto peer = BytesView(request).subspan(2).first<32>();
  state.mix_hash(peer);
  state.mix_hash({});
  Bytes message = skep::to_bytes(BytesView(ephemeral.public_key()));
  state.mix_hash(message);
  state.mix_key(*ephemeral.agree(peer));
  state.encrypt_and_hash(static_key.public_key(), message);
  state.mix_key(*static_key.agree(peer));
  state.encrypt_and_hash(payload, message);
  return framed(message);
}

std::error_code answer_to(const skep::codec::NoiseHandshakePayload& payload, const X25519KeyPair& static_key,
                          const PeerId& expected = {}) {
  NoiseHandshake initiator(Role::initiator, credentials(Identity::generate()), expected);
  Bytes request;
  initiator.start(request);
  Bytes out;
  const auto taken = initiator.receive(hostile_response(request, static_key, payload.encode()), out);
  CHECK(out.empty() == !taken);
  return taken.error();
}

}  // namespace

TEST_CASE("an identity must have signed this static key") {
  const Identity bob = Identity::generate();
  const X25519KeyPair key = X25519KeyPair::generate();
  const X25519KeyPair another = X25519KeyPair::generate();
  const auto signature = [&](const Identity& by, const X25519KeyPair& of) {
    return by.sign(NoiseCredentials::signed_text(of.public_key()));
  };
  const Bytes name = skep::to_bytes(bob.public_key_message());
  CHECK(!answer_to({name, signature(bob, key), {}}, key, bob.id()));
  CHECK(answer_to({name, signature(bob, another), {}}, key) == errc::bad_identity);
  CHECK(answer_to({name, signature(Identity::generate(), key), {}}, key) == errc::bad_identity);
  CHECK(answer_to({name, bob.sign(key.public_key()), {}}, key) == errc::bad_identity);
  CHECK(answer_to({name, {}, {}}, key) == errc::bad_identity);
  CHECK(answer_to({{}, signature(bob, key), {}}, key) == errc::bad_identity);
  CHECK(answer_to({}, key) == errc::bad_identity);
  CHECK(answer_to({unhex("0807120100"), signature(bob, key), {}}, key) == errc::bad_identity);
}

TEST_CASE("a list of more than 100 multiplexers counts as none") {
  const Identity bob = Identity::generate();
  const X25519KeyPair key = X25519KeyPair::generate();
  const Bytes signature = bob.sign(NoiseCredentials::signed_text(key.public_key()));
  for (const std::size_t count : {100UL, 101UL}) {
    NoiseHandshake initiator(Role::initiator, credentials(Identity::generate()));
    Bytes request;
    Bytes out;
    initiator.start(request);
    const skep::codec::NoiseHandshakePayload payload{skep::to_bytes(bob.public_key_message()), signature,
                                                     std::vector<std::string>(count, "/yamux/1.0.0")};
    REQUIRE(initiator.receive(hostile_response(request, key, payload.encode()), out));
    CHECK(initiator.muxer().empty() == (count > 100));
  }
}

TEST_CASE("a key has one id, in whatever order its message is written") {
  const Identity bob = Identity::generate();
  const X25519KeyPair key = X25519KeyPair::generate();
  Bytes unusual = skep::to_bytes(bob.public_key_message().subspan(2));
  skep::append(unusual, unhex("0801"));
  CHECK(!answer_to({unusual, bob.sign(NoiseCredentials::signed_text(key.public_key())), {}}, key, bob.id()));
}

TEST_CASE("messages that are too short or not a payload are refused") {
  const auto keys = credentials(Identity::generate());
  for (std::size_t size = 0; size < 96; ++size) {
    NoiseHandshake initiator(Role::initiator, keys);
    Bytes out;
    initiator.start(out);
    CHECK(initiator.receive(framed(Bytes(size, 9)), out).error());
    NoiseHandshake responder(Role::responder, keys);
    out.clear();
    const auto taken = responder.receive(framed(Bytes(size, 9)), out);
    CHECK(taken.has_value() == (size >= 32));  // the first message may carry anything after its key
  }
  NoiseHandshake initiator(Role::initiator, keys);
  Bytes request;
  initiator.start(request);
  Bytes out;
  const Bytes response = hostile_response(request, X25519KeyPair::generate(), unhex("0a05ff"));
  CHECK(initiator.receive(response, out).error() == errc::handshake_failed);
}

TEST_CASE("a public key of small order is refused") {
  NoiseHandshake responder(Role::responder, credentials(Identity::generate()));
  Bytes out;
  CHECK(responder.receive(framed(Bytes(32, 0)), out).error() == errc::handshake_failed);
}
