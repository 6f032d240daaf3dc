#include "skep/core/endian.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <limits>

using namespace skep;

TEST_CASE("integers in both orders") {
  Bytes bytes;
  append_be<std::uint8_t>(bytes, 0x01);
  append_be<std::uint16_t>(bytes, 0x0203);
  append_be<std::uint32_t>(bytes, 0x04050607);
  append_be<std::uint64_t>(bytes, 0x08090a0b0c0d0e0fU);
  CHECK(to_hex(bytes) == "0102030405060708090a0b0c0d0e0f");
  bytes.clear();
  append_le<std::uint16_t>(bytes, 0x0203);
  append_le<std::uint32_t>(bytes, 0x04050607);
  append_le<std::uint64_t>(bytes, 0x08090a0b0c0d0e0fU);
  CHECK(to_hex(bytes) == "0302070605040f0e0d0c0b0a0908");
}

TEST_CASE("what is stored is loaded, at any alignment") {
  std::uint8_t room[9];
  for (std::size_t offset = 0; offset < 2; ++offset) {
    store_be<std::int64_t>(room + offset, std::numeric_limits<std::int64_t>::min() + 1);
    CHECK(load_be<std::int64_t>(room + offset) == std::numeric_limits<std::int64_t>::min() + 1);
    store_le<std::int16_t>(room + offset, -2);
    CHECK(load_le<std::int16_t>(room + offset) == -2);
    CHECK(load_be<std::uint16_t>(room + offset) == 0xfeff);
  }
}

TEST_CASE("floats keep their bits") {
  Bytes bytes;
  append_be<double>(bytes, 1700000000.5);
  append_le<float>(bytes, 1.0F);
  CHECK(to_hex(bytes) == "41d954fc402000000000803f");
  CHECK(load_be<double>(bytes.data()) == 1700000000.5);
  CHECK(load_le<float>(bytes.data() + 8) == 1.0F);
}
