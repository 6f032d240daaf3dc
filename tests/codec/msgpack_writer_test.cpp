#include "skep/codec/msgpack_writer.hpp"

#include <doctest/doctest.h>

#include <limits>
#include <string>
#include <utility>

#include "support/vectors.hpp"

using namespace skep;
using namespace skep::codec::msgpack;

namespace {

template <class Write>
std::string hex_of(Write write) {
  Bytes out;
  write(out);
  return to_hex(out);
}

}  // namespace

TEST_CASE("integers take the smallest form") {
  for (const auto& [value, hex] : {std::pair<std::int64_t, const char*>{0, "00"},
                                   {127, "7f"},
                                   {128, "cc80"},
                                   {255, "ccff"},
                                   {256, "cd0100"},
                                   {65535, "cdffff"},
                                   {65536, "ce00010000"},
                                   {4294967295, "ceffffffff"},
                                   {4294967296, "cf0000000100000000"},
                                   {std::numeric_limits<std::int64_t>::max(), "cf7fffffffffffffff"},
                                   {-1, "ff"},
                                   {-32, "e0"},
                                   {-33, "d0df"},
                                   {-128, "d080"},
                                   {-129, "d1ff7f"},
                                   {-32768, "d18000"},
                                   {-32769, "d2ffff7fff"},
                                   {-2147483648, "d280000000"},
                                   {-2147483649, "d3ffffffff7fffffff"},
                                   {std::numeric_limits<std::int64_t>::min(), "d38000000000000000"}}) {
    CAPTURE(value);
    CHECK(hex_of([&](Bytes& out) { append_integer(out, value); }) == hex);
  }
  CHECK(hex_of([](Bytes& out) { append_unsigned(out, std::numeric_limits<std::uint64_t>::max()); }) ==
        "cfffffffffffffffff");
}

TEST_CASE("reals are always float64") {
  CHECK(hex_of([](Bytes& out) { append_real(out, 0.5); }) == "cb3fe0000000000000");
  CHECK(hex_of([](Bytes& out) { append_real(out, 1.0); }) == "cb3ff0000000000000");
}

TEST_CASE("nil and booleans") {
  CHECK(hex_of([](Bytes& out) {
          append_nil(out);
          append_boolean(out, false);
          append_boolean(out, true);
        }) == "c0c2c3");
}

TEST_CASE("lengths take the smallest form") {
  const auto head = [](auto write, std::size_t n, std::size_t digits) {
    return hex_of([&](Bytes& out) { write(out, n); }).substr(0, digits);
  };
  const auto text = [](Bytes& out, std::size_t n) { append_text(out, std::string(n, 'a')); };
  CHECK(head(text, 0, 2) == "a0");
  CHECK(head(text, 31, 2) == "bf");
  CHECK(head(text, 32, 4) == "d920");
  CHECK(head(text, 255, 4) == "d9ff");
  CHECK(head(text, 256, 6) == "da0100");
  CHECK(head(text, 65535, 6) == "daffff");
  CHECK(head(text, 65536, 10) == "db00010000");

  const auto binary = [](Bytes& out, std::size_t n) { append_binary(out, Bytes(n)); };
  CHECK(head(binary, 0, 4) == "c400");
  CHECK(head(binary, 255, 4) == "c4ff");
  CHECK(head(binary, 256, 6) == "c50100");
  CHECK(head(binary, 65536, 10) == "c600010000");

  CHECK(head(append_array_head, 15, 2) == "9f");
  CHECK(head(append_array_head, 16, 6) == "dc0010");
  CHECK(head(append_array_head, 65535, 6) == "dcffff");
  CHECK(head(append_array_head, 65536, 10) == "dd00010000");
  CHECK(head(append_map_head, 15, 2) == "8f");
  CHECK(head(append_map_head, 16, 6) == "de0010");
  CHECK(head(append_map_head, 65536, 10) == "df00010000");

  const auto extension = [](Bytes& out, std::size_t n) { append_extension(out, 0x40, Bytes(n)); };
  for (const auto& [size, hex] : {std::pair{1, "d440"}, {2, "d540"}, {4, "d640"}, {8, "d740"}, {16, "d840"}}) {
    CHECK(head(extension, static_cast<std::size_t>(size), 4) == hex);
  }
  CHECK(head(extension, 0, 6) == "c70040");
  CHECK(head(extension, 3, 6) == "c70340");
  CHECK(head(extension, 17, 6) == "c71140");
  CHECK(head(extension, 256, 8) == "c8010040");
  CHECK(head(extension, 65536, 12) == "c90001000040");
  CHECK(hex_of([](Bytes& out) { append_extension_head(out, -1, 4); }) == "d6ff");
}

TEST_CASE("a length that MessagePack cannot carry is the caller's error") {
  Bytes out;
  CHECK_THROWS_AS(append_array_head(out, std::size_t{1} << 32), Error);
}
