#include "skep/codec/base58.hpp"

#include <doctest/doctest.h>

#include <string>
#include <utility>

#include "skep/core/random.hpp"
#include "support/hostile.hpp"
#include "support/vectors.hpp"

using namespace skep;
using skep::codec::base58_decode;
using skep::codec::base58_encode;
using skep_test::unhex;

TEST_CASE("known texts") {
  const std::pair<const char*, const char*> table[] = {
      {"", ""},
      {"00", "1"},
      {"0000", "11"},
      {"61", "2g"},
      {"00000000000000000000", "1111111111"},
      {"73696d706c792061206c6f6e6720737472696e67", "2cFupjhnEsSn59qHXstmK2ffpLv2"},
      {"00eb15231dfceb60925886b67d065299925915aeb172c06647", "1NS17iag9jJgTHD1VXjvLCEnZuQ3rJDE9L"},
      {"0024080112201ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e",
       "12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq"},
      {"1220b6c8a8c0a3105fc27afca4fb1173791f038e4343fd56b7c67b616dbc30a04ccd",
       "QmaeANgBs1DTSxWSrPPtobgQuxW8XTfsS4ydbK4rCHzqxG"},
  };
  for (const auto& [hex, text] : table) {
    CAPTURE(text);
    CHECK(base58_encode(unhex(hex)) == text);
    const auto decoded = base58_decode(text);
    REQUIRE(decoded);
    CHECK(to_hex(*decoded) == hex);
  }
}

TEST_CASE("the ids of live peers") {
  for (const auto& [section, name, bytes, text] :
       {std::tuple{"identity", "rsa_peer", "peer_id", "text"}, {"moe", "declare_experts", "peer", "peer_text"}}) {
    const auto& entry = skep_test::vector_of(section, name);
    CHECK(base58_encode(unhex(entry.at(bytes).get<std::string>())) == entry.at(text).get<std::string>());
  }
}

TEST_CASE("characters outside the alphabet are refused") {
  for (const char* text : {"0", "O", "I", "l", "a b", "12D3KooW-", "\xff", "1é"}) {
    CAPTURE(text);
    CHECK(base58_decode(text).error() == errc::malformed);
  }
}

TEST_CASE("long texts are refused before any work") {
  CHECK(base58_decode(std::string(codec::max_base58_text, 'z')));
  CHECK(base58_decode(std::string(codec::max_base58_text + 1, 'z')).error() == errc::limit_exceeded);
}

TEST_CASE("random bytes come back") {
  Random random(1);
  for (int i = 0; i < 2000; ++i) {
    Bytes bytes(random.below(60));
    random.fill(bytes);
    for (auto zeros = random.below(4); zeros > 0 && zeros <= bytes.size(); --zeros) bytes[zeros - 1] = 0;
    const auto decoded = base58_decode(base58_encode(bytes));
    REQUIRE(decoded);
    CHECK(*decoded == bytes);
  }
}

TEST_CASE("hostile texts are read or refused") {
  const Bytes valid = to_bytes("12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq");
  skep_test::for_hostile_bytes(valid, [](BytesView text) {
    if (const auto decoded = base58_decode(as_text(text))) CHECK(base58_encode(*decoded) == as_text(text));
  });
}
