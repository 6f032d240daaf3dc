#include "skep/crypto/secret.hpp"

#include <doctest/doctest.h>

#include <new>

using skep::as_bytes;
using skep::crypto::Secret;

TEST_CASE("a comparison looks at every byte and at the length") {
  CHECK(skep::crypto::constant_time_equal(as_bytes("same"), as_bytes("same")));
  CHECK(skep::crypto::constant_time_equal({}, {}));
  CHECK(!skep::crypto::constant_time_equal(as_bytes("same"), as_bytes("sane")));
  CHECK(!skep::crypto::constant_time_equal(as_bytes("same"), as_bytes("same ")));
}

TEST_CASE("a secret wipes itself") {
  alignas(Secret<32>) std::array<std::uint8_t, sizeof(Secret<32>)> storage{};
  std::array<std::uint8_t, 32> key;
  key.fill(7);
  auto* secret = new (storage.data()) Secret<32>(key);
  CHECK(storage == key);
  const Secret<32> copy = *secret;
  secret->~Secret();
  CHECK(std::ranges::all_of(storage, [](std::uint8_t byte) { return byte == 0; }));
  CHECK(copy.view()[31] == 7);
}
