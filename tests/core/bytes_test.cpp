#include "skep/core/bytes.hpp"

#include <doctest/doctest.h>

using namespace skep;

TEST_CASE("text and bytes are views of each other") {
  const std::string text("a\0b", 3);
  const BytesView bytes = as_bytes(text);
  CHECK(bytes.size() == 3);
  CHECK(static_cast<const void*>(bytes.data()) == static_cast<const void*>(text.data()));
  CHECK(as_text(bytes) == text);
}

TEST_CASE("owned copies hold the same bytes") {
  CHECK(to_bytes("ab") == Bytes{'a', 'b'});
  CHECK(to_bytes(BytesView()).empty());
  const Bytes source{1, 2, 3};
  CHECK(to_bytes(BytesView(source).subspan(1)) == Bytes{2, 3});
}

TEST_CASE("append puts bytes behind the others") {
  Bytes bytes{1};
  append(bytes, Bytes{2, 3});
  append(bytes, {});
  CHECK(bytes == Bytes{1, 2, 3});
}

TEST_CASE("hexadecimal has two lower-case digits a byte") {
  CHECK(to_hex({}).empty());
  CHECK(to_hex(Bytes{0x00, 0x0f, 0xa0, 0xff}) == "000fa0ff");
}
