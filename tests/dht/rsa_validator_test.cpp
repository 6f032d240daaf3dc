#include "skep/dht/rsa_validator.hpp"

#include <string>

#include "skep/codec/dht_messages.hpp"
#include "support/vectors.hpp"

#include <doctest/doctest.h>

using namespace skep;
using crypto::RsaPrivateKey;
using dht::DHTID;
using dht::RecordView;
using dht::RsaSignatureValidator;
using skep_test::vector_bytes;

namespace {

const DHTID key = dht::key_id("experiment");
const WallTime later{1'795'632'000};

/// A binary subkey around a tag, as bytes on the wire.
Bytes subkey_with(const std::string& tag) { return codec::msgpack::encode(to_bytes("peer " + tag + " 1")); }

RsaSignatureValidator fresh() { return RsaSignatureValidator(RsaPrivateKey::generate()); }

}  // namespace

TEST_CASE("A9.1 records signed by Hivemind, and those it accepted, are valid; the bytes that are signed are its own") {
  const RsaSignatureValidator validator;
  const auto request = codec::StoreRequest::decode(vector_bytes("dht", "signed_by_hivemind", "request"));
  REQUIRE(request);
  const RecordView theirs{
      *DHTID::from_bytes(request->keys[0]), request->subkeys[0], request->values[0], {request->expiration_times[0]}};
  CHECK(validator.validate(theirs));
  CHECK(dht::bytes_to_sign(theirs.key, theirs.subkey, validator.strip(theirs, to_bytes(theirs.value)),
                           theirs.expiration) == vector_bytes("dht", "signed_by_hivemind", "signed_bytes"));

  const Bytes subkey = vector_bytes("dht", "signed_by_us", "subkey");
  const Bytes value = vector_bytes("dht", "signed_by_us", "value");
  const RecordView ours{*DHTID::from_bytes(vector_bytes("dht", "signed_by_us", "key")),
                        subkey,
                        value,
                        {skep_test::vector_of("dht", "signed_by_us").at("expiration").get<double>()}};
  CHECK(validator.validate(ours));
  CHECK(validator.strip(ours, value) == Bytes{1});
  RecordView other = ours;
  other.expiration = {ours.expiration.seconds + 1};
  CHECK_FALSE(validator.validate(other));

  const RsaSignatureValidator again(*RsaPrivateKey::from_pkcs1(vector_bytes("dht", "signed_by_us", "private_key_der")));
  const Bytes bare{1};
  const Bytes resigned = again.sign({ours.key, subkey, bare, ours.expiration});
  CHECK(resigned.size() == value.size());
  CHECK(validator.validate({ours.key, subkey, resigned, ours.expiration}));
}

TEST_CASE("A9.1 what has no tag is nobody's: valid as it is, never signed nor stripped") {
  const RsaSignatureValidator validator;
  for (const Bytes& value : {to_bytes("anything"), to_bytes("a[signature:b]c"), Bytes()}) {
    for (const Bytes& subkey : {Bytes{0xc0}, Bytes{7}, codec::msgpack::encode("[owner:]")}) {
      const RecordView record{key, subkey, value, later};
      CHECK(validator.validate(record));
      CHECK(validator.sign(record) == value);
      CHECK(validator.strip(record, value) == value);
    }
  }
}

TEST_CASE("A9.2 only the owner's signature counts, exactly one, under one tag, behind the value") {
  const RsaSignatureValidator mine = fresh();
  const RsaSignatureValidator theirs = fresh();
  const Bytes value = codec::msgpack::encode(-5);
  const Bytes subkey = subkey_with(mine.owner_tag());
  const auto valid = [&](const Bytes& held) { return theirs.validate({key, subkey, held, later}); };
  const Bytes good = mine.sign({key, subkey, value, later});
  CHECK(valid(good));
  CHECK(mine.strip({key, subkey, good, later}, good) == value);

  CHECK(theirs.sign({key, subkey, value, later}) == value);  // one signs what is tagged as one's own
  CHECK_FALSE(valid(value));
  const Bytes foreign = theirs.sign({key, subkey_with(theirs.owner_tag()), value, later});
  CHECK_FALSE(valid(foreign));
  const auto with = [&](std::string text) {
    Bytes out = value;
    append(out, as_bytes(text));
    return out;
  };
  const std::string signature(as_text(good).substr(value.size()));
  CHECK(valid(with(signature)));
  CHECK_FALSE(valid(with("[signature:AAAA]")));
  CHECK_FALSE(valid(with("[signature:not base64]")));
  CHECK_FALSE(valid(with(signature + signature)));
  CHECK_FALSE(valid(with("[signature:x]" + signature)));
  CHECK_FALSE(valid(with(signature + "tail")));
  CHECK_FALSE(valid({}));
  Bytes altered = good;
  altered[0] ^= 1;
  CHECK_FALSE(valid(altered));
  CHECK_FALSE(theirs.validate({dht::key_id("other"), subkey, good, later}));
  CHECK_FALSE(theirs.validate({key, subkey_with(mine.owner_tag() + "x"), good, later}));

  const Bytes both = subkey_with(mine.owner_tag() + theirs.owner_tag());
  CHECK_FALSE(theirs.validate({key, both, mine.sign({key, both, value, later}), later}));
  const Bytes twice = subkey_with(mine.owner_tag() + mine.owner_tag());
  CHECK(theirs.validate({key, twice, mine.sign({key, twice, value, later}), later}));
  for (const char* tag : {"[owner:ssh-rsa AAAA]", "[owner:nobody]", "[owner:ssh-ed25519 AAAA]"}) {
    CHECK_FALSE(theirs.validate({key, subkey_with(tag), good, later}));
  }
}

TEST_CASE("A9.3 H-17 an owner's tag in a key is refused with what to do instead") {
  const RsaSignatureValidator validator;
  CHECK_THROWS_WITH(
      validator.check_key(codec::msgpack::encode("x" + validator.owner_tag())),
      "skep: the key contains \"[owner:...]\", but other nodes know a key only by its hash, so the owner's "
      "tag protects nothing there; put it into the subkey");
  validator.check_key(codec::msgpack::encode("experiment"));
}

TEST_CASE("a value that would look signed is refused before it is stored, for no node would take it") {
  const RsaSignatureValidator validator;
  const Bytes subkey = subkey_with(validator.owner_tag());
  CHECK_THROWS_WITH((void)validator.sign({key, subkey, to_bytes("a[signature:b]"), later}),
                    doctest::Contains("must not contain \"[signature:...]\""));
}

TEST_CASE(
    "A9.4 a validator made of the same key elsewhere signs for the same owner; the default key is the process's") {
  const RsaSignatureValidator here = fresh();
  const RsaSignatureValidator there(*RsaPrivateKey::from_pkcs1(here.private_key()->to_pkcs1()));
  CHECK(here.owner_tag() == there.owner_tag());
  CHECK(RsaSignatureValidator().owner_tag() == RsaSignatureValidator().owner_tag());
  const Bytes subkey = subkey_with(here.owner_tag());
  const Bytes value{1};
  CHECK(here.validate({key, subkey, there.sign({key, subkey, value, later}), later}));
}
