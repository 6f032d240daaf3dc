#include "skep/crypto/hash.hpp"

#include <doctest/doctest.h>

#include <thread>

#include "support/vectors.hpp"

using skep::as_bytes;
using skep::Bytes;
using skep::to_hex;

TEST_CASE("digests are those of FIPS 180") {
  CHECK(to_hex(skep::crypto::sha1(as_bytes("abc"))) == "a9993e364706816aba3e25717850c26c9cd0d89d");
  CHECK(to_hex(skep::crypto::sha256(as_bytes("abc"))) ==
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(to_hex(skep::crypto::sha256()) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(to_hex(skep::crypto::sha1(Bytes{})) == "da39a3ee5e6b4b0d3255bfef95601890afd80709");
}

TEST_CASE("a digest does not depend on how the bytes are cut, or on what was hashed before") {
  const auto whole = skep::crypto::sha256(as_bytes("one, two, three"));
  CHECK(skep::crypto::sha256(as_bytes("one, "), as_bytes("two, "), Bytes{}, as_bytes("three")) == whole);
  CHECK(skep::crypto::sha256(as_bytes("one, two, three")) == whole);
}

TEST_CASE("each thread has its own context") {
  const auto expected = skep::crypto::sha256(as_bytes("abc"));
  skep::crypto::Sha256Digest other{};
  std::thread([&] { other = skep::crypto::sha256(as_bytes("abc")); }).join();
  CHECK(other == expected);
}

TEST_CASE("HMAC is that of RFC 4231, case 2") {
  const auto mac = skep::crypto::hmac_sha256(as_bytes("Jefe"), as_bytes("what do ya want "), as_bytes("for nothing?"));
  CHECK(to_hex(mac.view()) == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

TEST_CASE("HKDF gives two keys, as RFC 5869 does without info") {
  const auto [first, second] = skep::crypto::hkdf_sha256(as_bytes("salt"), Bytes(22, 0x0b));
  CHECK(to_hex(first.view()) == "89f24d43f5a2eba6c8a19d826e26bf94225290f296c759373e35aa9a304b474d");
  CHECK(to_hex(second.view()) == "1baebde7b6bc3a3ebc3b20caaeddf03fcea363a24fb513a108bf3779bad419d9");
  CHECK(to_hex(skep::crypto::hkdf_sha256({}, Bytes(22, 0x0b)).first.view()) ==
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d");
}
