#include "skep/codec/msgpack.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>

#include "skep/core/random.hpp"
#include "support/hostile.hpp"
#include "support/python_literal.hpp"
#include "support/vectors.hpp"

using namespace skep;
using namespace skep::codec::msgpack;
using skep_test::unhex;
using skep_test::vector_of;

namespace {

Value random_value(Random& random, int depth) {
  const auto text = [&] {
    std::string s(random.below(40), ' ');
    for (auto& c : s) c = static_cast<char>('a' + random.below(26));
    return s;
  };
  const auto items = [&] {
    Array array;
    for (auto n = random.below(20); n > 0; --n) array.push_back(random_value(random, depth - 1));
    return array;
  };
  switch (random.below(depth > 0 ? 11 : 8)) {
    case 0: return {};
    case 1: return random.below(2) == 1;
    case 2: return static_cast<std::int64_t>(random()) >> random.below(64);
    case 3: return random() >> random.below(64);
    case 4: return (random.unit() - 0.5) * 1e9;
    case 5: return text();
    case 6: return to_bytes(text());
    case 7: return Extension{static_cast<std::int8_t>(0x41 + random.below(20)), to_bytes(text())};
    case 8: return items();
    case 9: return Tuple{items()};
    default: {
      Map map;
      for (auto n = random.below(20); n > 0; --n) map.emplace_back(text(), random_value(random, depth - 1));
      return map;
    }
  }
}

Bytes nested(std::size_t depth) {
  Bytes bytes(depth, 0x91);
  bytes.push_back(0xc0);
  return bytes;
}

}  // namespace

TEST_CASE("E-8: every recorded value of Hivemind's serializer, both ways") {
  const auto& cases = vector_of("dht", "msgpack").at("cases");
  CHECK(cases.size() == 44);
  for (const auto& entry : cases) {
    const auto literal = entry.at("value").get<std::string>();
    CAPTURE(literal);
    const Value value = skep_test::PythonLiteral::read(literal);
    const Bytes bytes = unhex(entry.at("msgpack").get<std::string>());
    CHECK(to_hex(encode(value)) == to_hex(bytes));
    const auto decoded = decode(bytes);
    REQUIRE(decoded);
    CHECK(*decoded == value);
  }
  for (const auto& entry : vector_of("dht", "ids").at("cases")) {
    CHECK(to_hex(encode(skep_test::PythonLiteral::read(entry.at("key").get<std::string>()))) ==
          entry.at("msgpack").get<std::string>());
  }
}

TEST_CASE("E-8: recorded dictionaries are an extension whose data stay raw") {
  for (const char* key : {"one", "four"}) {
    const Bytes bytes = skep_test::vector_bytes("dht", "dictionary", key);
    const auto value = decode(bytes);
    REQUIRE(value);
    const auto* extension = value->get_if<Extension>();
    REQUIRE(extension != nullptr);
    CHECK(extension->type == dictionary_extension);
    CHECK(encode(*value) == bytes);
    const auto inside = decode(extension->data);
    REQUIRE(inside);
    CHECK(encode(*inside) == extension->data);
  }
  CHECK(decode(skep_test::vector_bytes("dht", "find_dictionary", "value")));
}

TEST_CASE("text that is not UTF-8 becomes a binary value") {
  CHECK(decode(unhex("a2c3a9"))->is<std::string>());
  const auto broken = decode(unhex("a2c3c3"));
  REQUIRE(broken);
  CHECK(*broken->get_if<Bytes>() == Bytes{0xc3, 0xc3});
  const auto key = decode(unhex("81a1ff01"));
  REQUIRE(key);
  CHECK(*key == Value(Map{{Bytes{0xff}, 1}}));
}

TEST_CASE("float64 keeps its bits, float32 is widened") {
  CHECK(*decode(unhex("cb7ff8000000000000"))->get_if<double>() != 0);  // NaN
  CHECK(std::isnan(*decode(unhex("cb7ff8000000000000"))->get_if<double>()));
  CHECK(*decode(unhex("ca3dcccccd"))->get_if<double>() == static_cast<double>(0.1F));
  CHECK(encode(1700000000.5) == unhex("cb41d954fc40200000"));
}

TEST_CASE("depth ends at 64") {
  CHECK(decode(nested(64)));
  CHECK(decode(nested(65)).error() == errc::limit_exceeded);
  CHECK(decode(nested(5), 4).error() == errc::limit_exceeded);
  CHECK(decode(nested(4), 4));
  CHECK(decode(unhex("c0"), 0));

  Value tuples;
  for (int i = 0; i < 64; ++i) {
    Tuple outer;
    outer.items.push_back(std::move(tuples));
    tuples = std::move(outer);
  }
  CHECK(decode(encode(tuples)));
  const Bytes too_deep = encode(Tuple{{std::move(tuples)}});
  CHECK(decode(too_deep).error() == errc::limit_exceeded);
}

TEST_CASE("4 MiB of 0x91 are refused without recursion") {
  CHECK(decode(Bytes(4 * 1024 * 1024, 0x91)).error() == errc::limit_exceeded);
  CHECK(decode(Bytes(4 * 1024 * 1024, 0x81)).error() == errc::limit_exceeded);
}

TEST_CASE("counts that cannot be true allocate nothing") {
  CHECK(decode(unhex("ddffffffff")).error() == errc::truncated);
  // each of many nested arrays claims all the bytes that are left
  Bytes greedy;
  constexpr std::size_t size = 4 * 1024 * 1024;
  while (greedy.size() < 60 * 5) {
    greedy.push_back(0xdd);
    append_be<std::uint32_t>(greedy, static_cast<std::uint32_t>(size - greedy.size() - 4));
  }
  greedy.resize(size, 0xc0);
  CHECK(decode(greedy).error() == errc::truncated);
  // the same through tuples: the first item of an array of all bytes is an extension of all bytes
  Bytes tuples;
  while (tuples.size() < 30 * 11) {
    tuples.push_back(0xdd);
    append_be<std::uint32_t>(tuples, static_cast<std::uint32_t>(size - tuples.size() - 4));
    tuples.push_back(0xc9);
    append_be<std::uint32_t>(tuples, static_cast<std::uint32_t>(size - tuples.size() - 5));
    tuples.push_back(0x40);
  }
  tuples.resize(size, 0xc0);
  CHECK(decode(tuples).error() == errc::truncated);
}

TEST_CASE("what is no single value is refused") {
  for (const auto& [hex, code] : {std::pair{"", errc::truncated},
                                  {"91", errc::truncated},
                                  {"81a161", errc::truncated},
                                  {"c1", errc::malformed},
                                  {"c0c0", errc::malformed},
                                  {"91c1", errc::malformed},
                                  {"d44001", errc::malformed},    // a tuple that holds an integer
                                  {"d54080c0", errc::malformed},  // a tuple that holds a map
                                  {"d54090c0", errc::malformed},  // bytes left over inside
                                  {"d64092c0c0c0", errc::malformed},
                                  {"d44091", errc::truncated},  // the array ends behind the extension
                                  {"92d44091c0", errc::truncated}}) {
    CAPTURE(hex);
    CHECK(decode(unhex(hex)).error() == code);
    CHECK_FALSE(is_readable(unhex(hex)));
  }
}

TEST_CASE("random values come back") {
  Random random(1);
  for (int i = 0; i < 400; ++i) {
    const Value value = random_value(random, 3);
    const Bytes bytes = encode(value);
    const auto decoded = decode(bytes);
    REQUIRE(decoded);
    CHECK(*decoded == value);
    CHECK(is_readable(bytes));
    CHECK(encode(*decoded) == bytes);
    CHECK(Reader(bytes).skip()->size() == bytes.size());
  }
}

TEST_CASE("every prefix of a value is truncated, every mutation read or refused") {
  Random random(2);
  for (int i = 0; i < 20; ++i) {
    const Bytes bytes = encode(Array{random_value(random, 2), random_value(random, 2)});
    for (std::size_t size = 0; size < bytes.size(); size += 1 + size / 256) {
      CHECK_FALSE(decode(BytesView(bytes).first(size)));
      CHECK_FALSE(is_readable(BytesView(bytes).first(size)));
    }
    skep_test::for_hostile_bytes(
        bytes,
        [](BytesView hostile) {
          const auto value = decode(hostile);
          CHECK(is_readable(hostile) == value.has_value());
          if (!value) return;
          const Bytes again = encode(*value);  // the smallest forms, so not the same bytes
          CHECK(encode(*decode(again)) == again);
        },
        200, static_cast<std::uint64_t>(i));
  }
}
