#include "skep/crypto/x25519.hpp"

#include <doctest/doctest.h>

#include "support/vectors.hpp"

using skep::crypto::Secret;
using skep::crypto::X25519KeyPair;
using skep_test::unhex;

namespace {
X25519KeyPair pair_of(std::string_view hex) {
  const auto bytes = unhex(hex);
  return X25519KeyPair(Secret<32>(std::span<const std::uint8_t, 32>(bytes)));
}
}  // namespace

TEST_CASE("keys agree as in RFC 7748, section 6.1") {
  const auto bob = pair_of("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
  CHECK(skep::to_hex(bob.public_key()) == "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
  const auto alice = unhex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
  const auto shared = bob.agree(std::span<const std::uint8_t, 32>(alice));
  REQUIRE(shared);
  CHECK(skep::to_hex(shared->view()) == "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
}

TEST_CASE("both sides find the same secret") {
  const auto a = X25519KeyPair::generate();
  const auto b = X25519KeyPair::generate();
  CHECK(skep::to_hex(a.agree(b.public_key())->view()) == skep::to_hex(b.agree(a.public_key())->view()));
}

TEST_CASE("a public key of small order is refused") {
  const auto pair = X25519KeyPair::generate();
  CHECK(pair.agree(std::array<std::uint8_t, 32>{}).error() == skep::errc::malformed);
  CHECK(pair.agree(std::array<std::uint8_t, 32>{1}).error() == skep::errc::malformed);
}

TEST_CASE("generated keys differ") {
  CHECK(X25519KeyPair::generate().public_key() != X25519KeyPair::generate().public_key());
}
