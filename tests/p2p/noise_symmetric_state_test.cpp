#include "skep/p2p/noise_symmetric_state.hpp"

#include <doctest/doctest.h>

#include "support/vectors.hpp"

using skep::Bytes;
using skep::crypto::Secret;
using skep::p2p::detail::NoiseSymmetricState;

TEST_CASE("the hash after the first message is the recorded one") {
  const auto first = skep_test::vector_of("noise", "xx_both_sides")["messages"][0];
  NoiseSymmetricState state;
  state.mix_hash(skep_test::unhex(first["bytes"].get<std::string>()));
  Bytes out;
  state.encrypt_and_hash({}, out);
  CHECK(out.empty());
  CHECK(skep::to_hex(state.hash()) == first["h_after"].get<std::string>());
}

TEST_CASE("both sides stay in step, and what was altered ends it") {
  NoiseSymmetricState a;
  NoiseSymmetricState b;
  a.mix_key(Secret<32>());
  b.mix_key(Secret<32>());
  for (int i = 0; i < 3; ++i) {
    Bytes sealed;
    a.encrypt_and_hash(skep::as_bytes("text"), sealed);
    CHECK(sealed.size() == 4 + 16);
    const auto plain = b.decrypt_and_hash(sealed);
    REQUIRE(plain);
    CHECK(skep::as_text(*plain) == "text");
    CHECK(a.hash() == b.hash());
  }
  Bytes sealed;
  a.encrypt_and_hash(skep::as_bytes("text"), sealed);
  sealed[0] ^= 1;
  CHECK(b.decrypt_and_hash(sealed).error() == skep::p2p::errc::not_authentic);
}
