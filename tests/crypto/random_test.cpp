#include "skep/crypto/random.hpp"

#include <doctest/doctest.h>

#include <set>

TEST_CASE("call ids do not repeat") {
  std::set<std::array<std::uint8_t, 16>> seen;
  for (int i = 0; i < 1000; ++i) seen.insert(skep::crypto::random_array<16>());
  CHECK(seen.size() == 1000);
}

TEST_CASE("all of a buffer is filled, an empty one too") {
  skep::crypto::random_bytes({});
  skep::Bytes bytes(4096);
  skep::crypto::random_bytes(bytes);
  std::set<std::uint8_t> values(bytes.begin(), bytes.end());
  CHECK(values.size() == 256);  // fails for one good source in 10,000
}
