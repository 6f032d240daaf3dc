#include "skep/core/varint.hpp"

#include <doctest/doctest.h>

#include <limits>
#include <utility>

#include "skep/core/random.hpp"
#include "support/vectors.hpp"

using namespace skep;
using skep_test::unhex;

namespace {

Bytes written(std::uint64_t value) {
  Bytes bytes;
  append_varint(bytes, value);
  return bytes;
}

}  // namespace

TEST_CASE("known numbers") {
  const std::pair<std::uint64_t, const char*> table[] = {
      {0, "00"},
      {1, "01"},
      {127, "7f"},
      {128, "8001"},
      {255, "ff01"},
      {300, "ac02"},
      {421, "a503"},
      {16383, "ff7f"},
      {16384, "808001"},
      {4194304, "80808002"},
      {std::numeric_limits<std::uint64_t>::max(), "ffffffffffffffffff01"},
  };
  for (const auto& [value, hex] : table) {
    CAPTURE(hex);
    CHECK(to_hex(written(value)) == hex);
    CHECK(varint_size(value) == unhex(hex).size());
    const auto read = read_varint(unhex(hex));
    REQUIRE(read);
    CHECK(read->value == value);
    CHECK(read->size == unhex(hex).size());
  }
}

TEST_CASE("what follows the number is left alone") {
  const auto read = read_varint(unhex("ac02ff"));
  REQUIRE(read);
  CHECK(read->value == 300);
  CHECK(read->size == 2);
}

TEST_CASE("every prefix needs more bytes") {
  const Bytes whole = written(std::numeric_limits<std::uint64_t>::max());
  for (std::size_t size = 0; size < whole.size(); ++size) {
    CHECK(read_varint(BytesView(whole).first(size)).error() == errc::truncated);
  }
}

TEST_CASE("only the shortest form within 64 bits is right") {
  for (const char* hex : {"8000", "ff00", "80808000", "ffffffffffffffffff02", "ffffffffffffffffffff01",
                          "80808080808080808080", "ffffffffffffffffff7f"}) {
    CAPTURE(hex);
    CHECK(read_varint(unhex(hex)).error() == errc::malformed);
  }
}

TEST_CASE("random numbers come back") {
  Random random(1);
  for (int i = 0; i < 5000; ++i) {
    const std::uint64_t value = random() >> random.below(64);
    const Bytes bytes = written(value);
    CHECK(bytes.size() == varint_size(value));
    const auto read = read_varint(bytes);
    REQUIRE(read);
    CHECK(read->value == value);
    CHECK(read->size == bytes.size());
  }
}
