#include "skep/crypto/ed25519.hpp"

#include <doctest/doctest.h>

#include "support/vectors.hpp"

using skep::Bytes;
using skep::crypto::Ed25519KeyPair;
using skep::crypto::Secret;
using skep_test::unhex;

namespace {
Ed25519KeyPair pair_of(std::string_view hex) {
  const auto bytes = unhex(hex);
  return Ed25519KeyPair(Secret<32>(std::span<const std::uint8_t, 32>(bytes)));
}
}  // namespace

TEST_CASE("signatures are those of RFC 8032, section 7.1") {
  const auto empty = pair_of("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
  CHECK(skep::to_hex(empty.public_key()) == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
  CHECK(skep::to_hex(empty.sign({})) ==
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
        "d25bf5f0595bbe24655141438e7a100b");
  CHECK(skep::crypto::ed25519_verify(empty.public_key(), {}, empty.sign({})));

  const auto one = pair_of("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
  CHECK(skep::to_hex(one.sign(Bytes{0x72})) ==
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c"
        "387b2eaeb4302aeeb00d291612bb0c00");
}

TEST_CASE("what was altered does not verify") {
  const auto pair = Ed25519KeyPair::generate();
  const Bytes message{1, 2, 3};
  const auto signature = pair.sign(message);
  CHECK(skep::crypto::ed25519_verify(pair.public_key(), message, signature));
  CHECK(!skep::crypto::ed25519_verify(pair.public_key(), Bytes{1, 2}, signature));
  CHECK(!skep::crypto::ed25519_verify(Ed25519KeyPair::generate().public_key(), message, signature));
  for (std::size_t i = 0; i < signature.size(); ++i) {
    auto altered = signature;
    altered[i] ^= 1;
    CHECK(!skep::crypto::ed25519_verify(pair.public_key(), message, altered));
  }
}

TEST_CASE("keys and signatures of a wrong length do not verify") {
  const auto pair = Ed25519KeyPair::generate();
  const auto signature = pair.sign({});
  CHECK(!skep::crypto::ed25519_verify(skep::BytesView(pair.public_key()).first(31), {}, signature));
  CHECK(!skep::crypto::ed25519_verify(pair.public_key(), {}, skep::BytesView(signature).first(63)));
  CHECK(!skep::crypto::ed25519_verify({}, {}, {}));
}

TEST_CASE("a key of small order signs nothing") {
  const std::array<std::uint8_t, 32> neutral{1};
  std::array<std::uint8_t, 64> signature{1};
  CHECK(!skep::crypto::ed25519_verify(neutral, skep::as_bytes("anything"), signature));
}
