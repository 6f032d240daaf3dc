#include "skep/dht/ed25519_validator.hpp"

#include <doctest/doctest.h>

#include <string>

#include "skep/dht/composite_validator.hpp"
#include "skep/dht/rsa_validator.hpp"

using namespace skep;
using crypto::Ed25519KeyPair;
using dht::Ed25519SignatureValidator;
using dht::RsaSignatureValidator;

namespace {
const dht::DHTID key = dht::key_id("experiment");
const WallTime later{1'795'632'000};
Bytes subkey_with(const std::string& tag) { return codec::msgpack::encode(to_bytes(tag)); }
}  // namespace

TEST_CASE("records under an Ed25519 key's tag are its owner's alone") {
  const Ed25519SignatureValidator mine(Ed25519KeyPair::generate());
  const Ed25519SignatureValidator theirs(Ed25519KeyPair::generate());
  CHECK(mine.owner_tag().starts_with("[owner-ed25519:"));
  CHECK(mine.owner_tag().size() == 15 + 44 + 1);
  const Bytes subkey = subkey_with(mine.owner_tag());
  const Bytes value = codec::msgpack::encode("mine");
  const Bytes good = mine.sign({key, subkey, value, later});
  CHECK(theirs.validate({key, subkey, good, later}));
  CHECK(theirs.strip({key, subkey, good, later}, good) == value);
  CHECK_FALSE(theirs.validate({key, subkey, value, later}));
  CHECK_FALSE(theirs.validate({key, subkey, theirs.sign({key, subkey, value, later}), later}));
  CHECK_FALSE(theirs.validate({key, subkey, good, {later.seconds + 1}}));
  CHECK_FALSE(theirs.validate({key, subkey_with("[owner-ed25519:AAAA]"), good, later}));
  CHECK_THROWS_WITH(mine.check_key(subkey), doctest::Contains("put it into the subkey"));
}

TEST_CASE("a record may have an owner of each kind; Hivemind's validator can check its part and sees no other") {
  const RsaSignatureValidator rsa;
  const Ed25519SignatureValidator ed25519;
  auto both = dht::compose_validators(rsa, ed25519);
  const Bytes subkey = subkey_with(rsa.owner_tag() + ed25519.owner_tag());
  const Bytes value = codec::msgpack::encode(1);
  const Bytes held = both.sign({key, subkey, value, later});
  CHECK(both.validate({key, subkey, held, later}));
  CHECK(both.strip({key, subkey, held, later}, held) == value);
  CHECK(rsa.validate({key, subkey, held, later}));
  CHECK_FALSE(both.validate({key, subkey, rsa.sign({key, subkey, value, later}), later}));
  CHECK(rsa.validate({key, subkey_with(ed25519.owner_tag()), value, later}));  // "[owner-ed25519:" is no "[owner:"
}
