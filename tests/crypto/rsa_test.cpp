#include "skep/crypto/rsa.hpp"

#include <doctest/doctest.h>

#include "support/vectors.hpp"

using skep::as_bytes;
using skep::Bytes;
using skep::BytesView;
using skep::crypto::rsa_verify;
using skep::crypto::RsaPrivateKey;
using skep_test::unhex;

namespace {

/// The DER inside the key messages of a live peer's identity file: after type, tag and a length of two bytes.
Bytes inner_der(const char* key) {
  Bytes message = skep_test::vector_bytes("identity", "rsa_peer", key);
  return {message.begin() + 5, message.end()};
}

}  // namespace

TEST_CASE("a key is read from PKCS 1 and written as it was") {
  const Bytes der = inner_der("identity_file");
  const auto key = RsaPrivateKey::from_pkcs1(der);
  REQUIRE(key);
  CHECK(key->to_pkcs1() == der);
  CHECK(key->public_key() == inner_der("public_message"));
  const Bytes signature = key->sign(as_bytes("a message"));
  CHECK(signature.size() == 256);
  CHECK(rsa_verify(key->public_key(), as_bytes("a message"), signature));
  CHECK(!rsa_verify(key->public_key(), as_bytes("another message"), signature));
  Bytes altered = signature;
  altered[100] ^= 1;
  CHECK(!rsa_verify(key->public_key(), as_bytes("a message"), altered));
  CHECK(!rsa_verify(key->public_key(), as_bytes("a message"), {}));
  CHECK(!rsa_verify({}, as_bytes("a message"), signature));
}

TEST_CASE("a generated key signs") {
  const RsaPrivateKey key = RsaPrivateKey::generate();
  CHECK(key.public_key().size() == 294);
  CHECK(rsa_verify(key.public_key(), {}, key.sign({})));
}

TEST_CASE("keys of fewer than 2048 bits are refused") {
  const Bytes key = unhex(
      "30819f300d06092a864886f70d010101050003818d0030818902818100d6053c1e191ee594b64f8aabe3f090c29e46f0e7885ebc9b50ce3a"
      "d7"
      "ff43b716547ea665ff9187710a5724ed3b2c78689ebaba9714bbdf48890c7aebf1fdd8ef32a9d715abc3d5304d5e6b16515cf4a855e7d5e2"
      "1c"
      "b8ebd2f28de6f3a9c34893a77d5d64cdf589305c05c037a94d4c155b87625ed7b9daccdc1d91f2335526b90203010001");
  const Bytes signature = unhex(
      "0c57b2198176905377e694637751d449baaa4648bb376e926c25cc0e103d2111ab340cc90fc1f57749896e6c4d90398e02c7b6f3a8b92836"
      "8e"
      "53262ee7f3c1a7d7a2b36b91fadd069c2b765883e4a22c2997e31335f9bb34ce0cf31793b5fb2ceb62cc4fa74759cf4e43bf17faac2fa7c9"
      "ce"
      "0132035f2d5fd435d1b2e196bd56");
  CHECK(!rsa_verify(key, as_bytes("a message"), signature));
  CHECK(RsaPrivateKey::from_pkcs1(RsaPrivateKey::generate(1024).to_pkcs1()).error() == skep::errc::limit_exceeded);
}

TEST_CASE("what is not a key is refused at every length") {
  const Bytes der = inner_der("identity_file");
  const Bytes public_der = inner_der("public_message");
  const Bytes signature = RsaPrivateKey::from_pkcs1(der)->sign({});
  for (std::size_t size = 0; size < der.size(); size += 7) {
    CHECK(RsaPrivateKey::from_pkcs1(BytesView(der).first(size)).error() == skep::errc::malformed);
  }
  for (std::size_t size = 0; size < public_der.size(); size += 7) {
    CHECK(!rsa_verify(BytesView(public_der).first(size), {}, signature));
  }
  Bytes longer = public_der;
  longer.push_back(0);
  CHECK(!rsa_verify(longer, {}, signature));
  CHECK(!rsa_verify(Bytes(100'000, 0x30), {}, signature));
  CHECK(rsa_verify(public_der, {}, signature));
}
