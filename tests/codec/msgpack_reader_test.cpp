#include "skep/codec/msgpack_reader.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>
#include <tuple>
#include <vector>

#include "support/hostile.hpp"
#include "support/vectors.hpp"

using namespace skep;
using namespace skep::codec::msgpack;
using skep_test::unhex;

TEST_CASE("every form of every kind") {
  using K = Kind;
  const std::tuple<const char*, K, std::uint64_t> scalars[] = {
      {"c0", K::nil, 0},
      {"c2", K::boolean, 0},
      {"c3", K::boolean, 1},
      {"7f", K::integer, 127},
      {"cc01", K::integer, 1},  // longer than needed
      {"cd0001", K::integer, 1},
      {"ce00000001", K::integer, 1},
      {"cf0000000000000001", K::integer, 1},
      {"cf7fffffffffffffff", K::integer, 0x7fffffffffffffff},
      {"cf8000000000000000", K::unsigned_integer, 0x8000000000000000},
      {"ff", K::integer, static_cast<std::uint64_t>(-1)},
      {"e0", K::integer, static_cast<std::uint64_t>(-32)},
      {"d080", K::integer, static_cast<std::uint64_t>(-128)},
      {"d1ff7f", K::integer, static_cast<std::uint64_t>(-129)},
      {"d2ffff7fff", K::integer, static_cast<std::uint64_t>(-32769)},
      {"d3ffffffff7fffffff", K::integer, static_cast<std::uint64_t>(-2147483649)},
      {"d37fffffffffffffff", K::integer, 0x7fffffffffffffff},
  };
  for (const auto& [hex, kind, number] : scalars) {
    CAPTURE(hex);
    const Bytes bytes = unhex(hex);
    Reader reader(bytes);
    const auto token = reader.next();
    REQUIRE(token);
    CHECK(token->kind == kind);
    CHECK(token->number == number);
    CHECK(reader.at_end());
  }

  const Bytes reals = unhex("ca3fc00000 cb3ff8000000000000 cb7ff0000000000000 cb7ff8000000000000");
  Reader reader(reals);
  CHECK(reader.expect(K::real)->real() == 1.5);
  CHECK(reader.expect(K::real)->real() == 1.5);
  CHECK(reader.expect(K::real)->real() == std::numeric_limits<double>::infinity());
  CHECK(std::isnan(reader.expect(K::real)->real()));
}

TEST_CASE("texts, binaries and extensions are views into the bytes") {
  for (const auto& [hex, kind, type] : {std::tuple{"a26162", Kind::text, 0},
                                        {"d9026162", Kind::text, 0},
                                        {"da00026162", Kind::text, 0},
                                        {"db000000026162", Kind::text, 0},
                                        {"c4026162", Kind::binary, 0},
                                        {"c500026162", Kind::binary, 0},
                                        {"c6000000026162", Kind::binary, 0},
                                        {"d5406162", Kind::extension, 0x40},
                                        {"c702506162", Kind::extension, 0x50},
                                        {"c80002ff6162", Kind::extension, -1},
                                        {"c900000002806162", Kind::extension, -128}}) {
    CAPTURE(hex);
    const Bytes bytes = unhex(hex);
    Reader reader(bytes);
    const auto token = reader.next();
    REQUIRE(token);
    CHECK(token->kind == kind);
    CHECK(token->extension_type == type);
    CHECK(as_text(token->bytes) == "ab");
    CHECK(token->bytes.data() + 2 == bytes.data() + bytes.size());
    CHECK(reader.at_end());
  }
  for (const auto& [hex, size] : {std::pair{"d44001", 1}, {"d5400101", 2}, {"d64001010101", 4}}) {
    const Bytes bytes = unhex(hex);
    CHECK(Reader(bytes).next()->bytes.size() == static_cast<std::size_t>(size));
  }
  const Bytes eight = unhex("d740" + std::string(16, '0')), sixteen = unhex("d840" + std::string(32, '0'));
  CHECK(Reader(eight).next()->bytes.size() == 8);
  CHECK(Reader(sixteen).next()->bytes.size() == 16);
}

TEST_CASE("counts are checked against the bytes left") {
  for (const auto& [hex, kind, count] : {std::tuple{"90", Kind::array, 0},
                                         {"92c0c0", Kind::array, 2},
                                         {"dc0001c0", Kind::array, 1},
                                         {"dd00000001c0", Kind::array, 1},
                                         {"80", Kind::map, 0},
                                         {"81c0c0", Kind::map, 1},
                                         {"de0001c0c0", Kind::map, 1},
                                         {"df00000001c0c0", Kind::map, 1}}) {
    CAPTURE(hex);
    const Bytes bytes = unhex(hex);
    const auto token = Reader(bytes).next();
    REQUIRE(token);
    CHECK(token->kind == kind);
    CHECK(token->count() == static_cast<std::size_t>(count));
  }
  for (const char* hex : {"91", "92c0", "dcffff", "ddffffffffc0", "81c0", "8fc0", "dfffffffff", "df80000000c0c0"}) {
    CAPTURE(hex);
    const Bytes bytes = unhex(hex);
    CHECK(Reader(bytes).next().error() == errc::truncated);
  }
}

TEST_CASE("every cut token needs more, and one lead byte means nothing") {
  for (const char* hex : {"a26162", "d9026162", "c4026162", "c6000000026162", "d5406162", "c702506162", "ca3fc00000",
                          "cb3ff8000000000000", "cf8000000000000000", "d3ffffffff7fffffff", "dc0000", "df00000000"}) {
    CAPTURE(hex);
    const Bytes bytes = unhex(hex);
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      const Bytes prefix(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
      CHECK(Reader(prefix).next().error() == errc::truncated);
    }
  }
  CHECK(Reader(unhex("c1")).next().error() == errc::malformed);
  CHECK(Reader(unhex("c6ffffffff61")).next().error() == errc::truncated);
  CHECK(Reader(unhex("c9ffffffff4061")).next().error() == errc::truncated);
}

TEST_CASE("another kind than expected is malformed, not an end") {
  const Bytes bytes = unhex("01");
  CHECK(Reader(bytes).expect(Kind::text).error() == errc::malformed);
  CHECK(Reader({}).expect(Kind::text).error() == errc::truncated);
}

TEST_CASE("a whole value is stepped over, and its bytes kept raw") {
  const Bytes bytes = unhex("93 81a16b d64092a16101 c402 ffff 92 90 80 05");
  Reader reader(bytes);
  const auto whole = reader.skip();
  REQUIRE(whole);
  CHECK(whole->size() == bytes.size() - 1);
  CHECK(reader.skip()->size() == 1);
  CHECK(reader.skip().error() == errc::truncated);
}

TEST_CASE("skipping deep or huge nesting costs no stack and no memory") {
  Bytes deep(4 * 1024 * 1024, 0x91);
  CHECK(Reader(deep).skip().error() == errc::truncated);
  deep.push_back(0xc0);
  CHECK(Reader(deep).skip()->size() == deep.size());
  Bytes wide;
  for (int i = 0; i < 1000; ++i) append(wide, unhex("dd00000fff"));
  CHECK(Reader(wide).skip().error() == errc::truncated);
}

TEST_CASE("the items of a live dictionary, read in place") {
  const Bytes bytes = skep_test::vector_bytes("dht", "dictionary", "four");
  const auto dictionary = Reader(bytes).expect(Kind::extension);
  REQUIRE(dictionary);
  CHECK(dictionary->extension_type == 0x50);
  Reader reader(dictionary->bytes);
  CHECK(reader.expect(Kind::array)->count() == 3);
  CHECK(reader.expect(Kind::real)->real() == std::numeric_limits<double>::infinity());
  CHECK(reader.expect(Kind::real)->real() == 5e9);
  CHECK(reader.expect(Kind::array)->count() == 4);
  std::vector<std::string> subkeys;
  for (int i = 0; i < 4; ++i) {
    CHECK(reader.expect(Kind::array)->count() == 3);
    subkeys.push_back(to_hex(*reader.skip()));
    CHECK(reader.expect(Kind::binary));
    CHECK(reader.expect(Kind::real)->real() >= 2e9);
  }
  CHECK(reader.at_end());
  CHECK(subkeys == std::vector<std::string>{"01", "a162", "c40163", "d6409201a17a"});
}

TEST_CASE("hostile bytes are read or refused") {
  const Bytes valid = skep_test::vector_bytes("moe", "info_two.1.1", "bytes");
  skep_test::for_hostile_bytes(
      valid,
      [](BytesView bytes) {
        Reader tokens(bytes);
        while (tokens.next()) {
        }
        Reader values(bytes);
        if (const auto whole = values.skip()) CHECK(whole->size() + values.rest().size() == bytes.size());
      },
      3000);
}
