#include "skep/crypto/base64.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace skep;
using crypto::base64;
using crypto::from_base64;

TEST_CASE("the vectors of RFC 4648, both ways") {
  for (const auto& [plain, text] :
       {std::pair{"", ""}, std::pair{"f", "Zg=="}, std::pair{"fo", "Zm8="}, std::pair{"foo", "Zm9v"},
        std::pair{"foob", "Zm9vYg=="}, std::pair{"fooba", "Zm9vYmE="}, std::pair{"foobar", "Zm9vYmFy"}}) {
    CHECK(base64(as_bytes(plain)) == text);
    CHECK(*from_base64(text) == to_bytes(plain));
  }
  CHECK(base64(Bytes{0xfb, 0xff}) == "+/8=");
}

TEST_CASE("what is not base64 is refused") {
  for (const char* text : {"Z", "Zg", "Zg=", "Zg==x", "Zg===", "Z g=", "-_8=", "Zh==", "=", "\xff\xff\xff\xff"}) {
    CAPTURE(std::string(text));
    CHECK(from_base64(text).error() == errc::malformed);
  }
}
