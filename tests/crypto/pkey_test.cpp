#include "skep/crypto/pkey.hpp"

#include <doctest/doctest.h>

#include "skep/crypto/rsa.hpp"

TEST_CASE("a public key is read only as the kind that is asked for") {
  const skep::Bytes der = skep::crypto::RsaPrivateKey::generate().public_key();
  CHECK(skep::crypto::detail::read_public_key(der, EVP_PKEY_RSA));
  CHECK_FALSE(skep::crypto::detail::read_public_key(der, EVP_PKEY_EC));
}
