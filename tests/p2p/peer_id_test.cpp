#include "skep/p2p/peer_id.hpp"

#include <doctest/doctest.h>

#include <unordered_set>

#include "support/vectors.hpp"

using skep::Bytes;
using skep::p2p::PeerId;
using skep_test::unhex;

namespace {
const std::string ed25519_text = "12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq";
const std::string ed25519_message = "080112201ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e";
const std::string rsa_text = "QmaeANgBs1DTSxWSrPPtobgQuxW8XTfsS4ydbK4rCHzqxG";
const std::string rsa_bytes = "1220b6c8a8c0a3105fc27afca4fb1173791f038e4343fd56b7c67b616dbc30a04ccd";
}  // namespace

TEST_CASE("the id of an Ed25519 key contains the key") {
  const PeerId id = PeerId::of_public_key(unhex(ed25519_message));
  CHECK(id.to_string() == ed25519_text);
  CHECK(skep::to_hex(id.bytes()) == "0024" + ed25519_message);
  CHECK(skep::to_hex(id.inlined_public_key()) == ed25519_message);
  CHECK(*PeerId::from_text(ed25519_text) == id);
  CHECK(*PeerId::from_bytes(id.bytes()) == id);
}

TEST_CASE("the id of an RSA key is its hash") {
  const auto vector = skep_test::vector_of("identity", "rsa_peer");
  const PeerId id = PeerId::of_public_key(unhex(vector["public_message"].get<std::string>()));
  CHECK(id.to_string() == vector["text"].get<std::string>());
  CHECK(id.bytes().size() == 34);
  CHECK(Bytes(id.bytes().begin(), id.bytes().end()) == unhex(vector["peer_id"].get<std::string>()));
  CHECK(id.inlined_public_key().empty());
  CHECK(skep::to_hex(PeerId::from_text(rsa_text)->bytes()) == rsa_bytes);
}

TEST_CASE("messages of up to 42 bytes are inlined") {
  CHECK(PeerId::of_public_key(Bytes(42, 7)).bytes().size() == 44);
  CHECK(PeerId::of_public_key(Bytes(43, 7)).bytes().size() == 34);
}

TEST_CASE("the text of a CIDv1 names the same peer") {
  const PeerId id = *PeerId::from_text(rsa_text);
  Bytes cid{0x01, 0x72};
  skep::append(cid, id.bytes());
  CHECK(*PeerId::from_text("b" + skep::codec::base32_encode(cid)) == id);
  CHECK(*PeerId::from_text("z" + skep::codec::base58_encode(cid)) == id);
  cid[1] = 0x70;  // some other kind of content
  CHECK(!PeerId::from_text("b" + skep::codec::base32_encode(cid)));
}

TEST_CASE("what is not a peer id is refused") {
  for (const char* hex :
       {"", "00", "0000", "1220", "0025", "122000", "1120b6c8a8c0a3105fc27afca4fb1173791f038e4343fd56b7"}) {
    CAPTURE(hex);
    CHECK(PeerId::from_bytes(unhex(hex)).error() == skep::errc::malformed);
  }
  Bytes long_key(45, 1);
  long_key[0] = 0;
  long_key[1] = 43;
  CHECK(!PeerId::from_bytes(long_key));
  CHECK(!PeerId::from_bytes(unhex(rsa_bytes + "00")));
  for (const char* text :
       {"", "b", "z", "Qm", "1", "hello", "12D3KooW0", "QmaeANgBs1DTSxWSrPPtobgQuxW8XTfsS4ydbK4rCHzqx"}) {
    CAPTURE(text);
    CHECK(!PeerId::from_text(text));
  }
  CHECK(!PeerId::from_text(std::string(100'000, '1')));
  CHECK(!PeerId::from_text("b" + std::string(100'000, 'a')));
}

TEST_CASE("an id is a value") {
  const PeerId nobody;
  CHECK(nobody.empty());
  CHECK(nobody.inlined_public_key().empty());
  const PeerId id = *PeerId::from_text(ed25519_text);
  CHECK(!id.empty());
  CHECK(nobody < id);
  const std::unordered_set<PeerId> set{id, nobody, *PeerId::from_text(ed25519_text)};
  CHECK(set.size() == 2);
}
