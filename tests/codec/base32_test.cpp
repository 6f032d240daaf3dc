#include "skep/codec/base32.hpp"

#include <doctest/doctest.h>

#include <utility>

#include "skep/core/random.hpp"
#include "support/hostile.hpp"
#include "support/vectors.hpp"

using namespace skep;
using skep::codec::base32_decode;
using skep::codec::base32_encode;

TEST_CASE("the texts of RFC 4648, in lower case and without padding") {
  const std::pair<const char*, const char*> table[] = {
      {"", ""},
      {"f", "my"},
      {"fo", "mzxq"},
      {"foo", "mzxw6"},
      {"foob", "mzxw6yq"},
      {"fooba", "mzxw6ytb"},
      {"foobar", "mzxw6ytboi"},
  };
  for (const auto& [plain, text] : table) {
    CAPTURE(text);
    CHECK(base32_encode(as_bytes(plain)) == text);
    const auto decoded = base32_decode(text);
    REQUIRE(decoded);
    CHECK(as_text(*decoded) == plain);
  }
}

TEST_CASE("a peer id's CIDv1 text, in either case") {
  // the RSA peer of the libp2p specification: version 1, codec libp2p-key, the multihash
  const auto bytes = skep_test::unhex("01721220b6c8a8c0a3105fc27afca4fb1173791f038e4343fd56b7c67b616dbc30a04ccd");
  const std::string text = base32_encode(bytes);
  CHECK(text.starts_with("afzbe"));
  const auto decoded = base32_decode(text);
  REQUIRE(decoded);
  CHECK(*decoded == bytes);
  CHECK(base32_decode("MZXW6YTBOI").value_or(Bytes()) == to_bytes("foobar"));
}

TEST_CASE("impossible texts are refused") {
  for (const char* text : {"m", "mzx", "mzxw6y", "mz", "mzxw7", "m0", "m1", "my======", "m y", "\xff\xff"}) {
    CAPTURE(text);
    CHECK(base32_decode(text).error() == errc::malformed);
  }
}

TEST_CASE("random bytes come back, hostile texts are read or refused") {
  Random random(1);
  for (int i = 0; i < 1000; ++i) {
    Bytes bytes(random.below(50));
    random.fill(bytes);
    CHECK(base32_decode(base32_encode(bytes)).value_or(Bytes{1}) == bytes);
  }
  skep_test::for_hostile_bytes(to_bytes("afzbeiaaaqcqmzxw6ytboi"), [](BytesView text) {
    if (const auto decoded = base32_decode(as_text(text))) CHECK(base32_encode(*decoded).size() == text.size());
  });
}
