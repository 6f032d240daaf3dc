#include "skep/dht/dictionary.hpp"

#include <array>

#include <doctest/doctest.h>
#include "skep/codec/msgpack.hpp"
#include "support/vectors.hpp"

using namespace skep;
using codec::msgpack::encode;
using codec::msgpack::Tuple;
using codec::msgpack::Value;
using dht::Dictionary;

namespace {
Bytes sub(const Value& value) { return encode(value); }
}  // namespace

TEST_CASE("A6.3 dictionaries have Hivemind's bytes") {
  Dictionary four;
  CHECK(four.store(sub(1), {encode(1), {3e9}}));
  CHECK(four.store(sub("b"), {encode("b"), {5e9}}));
  CHECK(four.store(sub(to_bytes("c")), {encode(to_bytes("c")), {2e9}}));
  CHECK(four.store(sub(Tuple{{1, "z"}}), {encode(Tuple{{1, "z"}}), {4e9}}));
  CHECK(four.latest() == WallTime{5e9});
  CHECK(to_hex(four.encode({1e9})) == to_hex(skep_test::vector_bytes("dht", "dictionary", "four")));
  const auto read = Dictionary::decode(skep_test::vector_bytes("dht", "dictionary", "four"));
  REQUIRE(read);
  CHECK(*read == four);

  const Bytes one = skep_test::vector_bytes("dht", "dictionary", "one");
  const auto single = Dictionary::decode(one);
  REQUIRE(single);
  REQUIRE(single->find(sub(7)));
  CHECK(single->find(sub(7))->value == encode("x"));
  CHECK(single->encode({0}) == one);
  CHECK(Dictionary::decode(skep_test::vector_bytes("dht", "find_dictionary", "value"))->items().size() == 3);
}

TEST_CASE("A3.15 the newer of two values of a subkey is kept, an equal or older one changes nothing") {
  Dictionary d;
  CHECK(d.store(sub("a"), {{1}, {10}}));
  CHECK_FALSE(d.store(sub("a"), {{2}, {10}}));
  CHECK_FALSE(d.store(sub("a"), {{2}, {9}}));
  CHECK(d.find(sub("a"))->value == Bytes{1});
  CHECK(d.store(sub("a"), {{3}, {11}}));
  CHECK(d.find(sub("a"))->value == Bytes{3});
  CHECK(d.latest() == WallTime{11});
}

TEST_CASE("what is over is not written and can be dropped") {
  Dictionary d;
  d.store(sub("a"), {{1}, {10}});
  d.store(sub("b"), {{2}, {20}});
  const auto read = Dictionary::decode(d.encode({10}));
  REQUIRE(read);
  CHECK(read->items().size() == 1);
  d.drop_expired({10});
  CHECK(d == *read);
}

TEST_CASE("what is not wanted is dropped as if it had never been there, two dictionaries are joined item by item") {
  Dictionary dictionary;
  dictionary.store({1}, {{10}, {100}});
  dictionary.store({2}, {{20}, {300}});
  dictionary.keep_if([](BytesView, const dht::Item& item) { return item.expiration < WallTime{200}; });
  CHECK(dictionary.items().size() == 1);
  CHECK(dictionary.latest() == WallTime{100});

  Dictionary other;
  other.store({1}, {{11}, {50}});   // older
  other.store({3}, {{30}, {150}});  // new
  dictionary.merge(other);
  CHECK(dictionary.find(Bytes{1})->value == Bytes{10});
  CHECK(dictionary.find(Bytes{3})->value == Bytes{30});
  CHECK(dictionary.latest() == WallTime{150});
  other.store({1}, {{12}, {200}});
  dictionary.merge(other);
  CHECK(dictionary.find(Bytes{1})->value == Bytes{12});
  CHECK(dictionary.latest() == WallTime{200});
}

TEST_CASE("one subkey has one name, however it was written") {
  CHECK(*dht::canonical_subkey(Bytes{0xcd, 0x00, 0x07}) == Bytes{0x07});
  CHECK_FALSE(dht::canonical_subkey(Bytes{0xc1}));
  CHECK_FALSE(dht::canonical_subkey(Bytes{}));
}

TEST_CASE("foreign dictionaries never throw: every cut and every flipped byte") {
  const Bytes good = skep_test::vector_bytes("dht", "dictionary", "four");
  for (std::size_t n = 0; n < good.size(); ++n) CHECK_FALSE(Dictionary::decode(BytesView(good).first(n)));
  for (std::size_t n = 0; n < good.size(); ++n) {
    for (const int flip : {0x01, 0x80, 0xff}) {
      Bytes bad = good;
      bad[n] = static_cast<std::uint8_t>(bad[n] ^ flip);
      (void)Dictionary::decode(bad);
    }
  }
  CHECK_FALSE(Dictionary::decode(Bytes{0xd4, 0x50, 0x90}));                    // too few fields
  CHECK_FALSE(Dictionary::decode(Bytes{0xc7, 0x03, 0x51, 0x93, 0xc0, 0xc0}));  // another extension
  CHECK_FALSE(Dictionary::decode(encode(1)));
  CHECK_FALSE(Dictionary::decode(encode(codec::msgpack::Extension{
      0x50, encode(codec::msgpack::Array{Value(), 1.0,
                                         codec::msgpack::Array{codec::msgpack::Array{
                                             1, Bytes{1}, std::numeric_limits<double>::quiet_NaN()}}})})));
}
