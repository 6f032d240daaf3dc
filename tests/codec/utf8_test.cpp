#include "skep/codec/utf8.hpp"

#include <doctest/doctest.h>

#include <string>

#include "support/vectors.hpp"

using namespace skep;
using skep::codec::is_utf8;
using skep_test::unhex;

TEST_CASE("text in every length of code point") {
  CHECK(is_utf8({}));
  CHECK(is_utf8(as_bytes("plain ASCII of more than eight bytes")));
  CHECK(is_utf8(as_bytes(std::string("nul \0 byte", 10))));
  CHECK(is_utf8(as_bytes("größe € 𝄞, at odd places: a€bc𝄞")));
  for (const char* hex : {"7f", "c280", "dfbf", "e0a080", "ed9fbf", "ee8080", "efbfbf", "f0908080", "f48fbfbf"}) {
    CAPTURE(hex);
    CHECK(is_utf8(unhex(hex)));
  }
}

TEST_CASE("what is not UTF-8") {
  for (const char* hex :
       {"80",       "bf",     "c0af",     "c180", "c2", "c220",     "e08080",     "e09fbf",
        "eda080",   "edbfbf", "e28082e2", "e282", "e2", "f08080af", "f08fbfbf",   "f4908080",
        "f5808080", "f09d84", "f09d",     "f0",   "ff", "fe",       "f888808080", "616263646566676880"}) {
    CAPTURE(hex);
    CHECK_FALSE(is_utf8(unhex(hex)));
  }
}

TEST_CASE("the answer does not depend on where in the text the fault stands") {
  for (std::size_t before = 0; before < 20; ++before) {
    const std::string text(before, 'x');
    CHECK(is_utf8(as_bytes(text + "€" + text)));
    CHECK_FALSE(is_utf8(as_bytes(text + "\xff" + text)));
    CHECK_FALSE(is_utf8(as_bytes(text + "\xe2\x82")));
  }
}
