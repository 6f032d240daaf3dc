#include "skep/dht/owner_tag.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <string>
#include <vector>

using namespace skep;
using dht::BytesWithPublicKey;
using dht::find_marks;
using Texts = std::vector<std::string_view>;

TEST_CASE("A9.1 marks are found as Hivemind's regular expression [owner:(.+?)] finds them") {
  for (const auto& [bytes, expected] : std::vector<std::pair<std::string, Texts>>{
           {"", {}},
           {"[owner:a]", {"a"}},
           {"x[owner:a]y[owner:b]z", {"a", "b"}},
           {"[owner:]", {}},
           {"[owner:]]", {"]"}},
           {"[owner:]a]", {"]a"}},
           {"[owner:[owner:a]", {"[owner:a"}},
           {"[owner:a\nb]", {}},
           {"[owner:a\n[owner:b]", {"b"}},
           {"[owner:\n]", {}},
           {"[owner:a", {}},
           {"[owner", {}},
           {"[signature:a]", {}},
           {std::string("\0\xff[owner:\xfe]", 12), {"\xfe"}},
       }) {
    CAPTURE(bytes);
    CHECK(find_marks(as_bytes(bytes), "owner") == expected);
  }
}

TEST_CASE("H-37 looking for marks takes time in proportion to the bytes, however they are made") {
  for (const std::string piece : {"[owner:", "[owner:]", "[owner:\n", "[owner:a]", "[owner:a\n]"}) {
    std::string bytes;
    while (bytes.size() < 2'000'000) bytes += piece;
    const auto start = std::chrono::steady_clock::now();
    (void)find_marks(as_bytes(bytes), "owner");
    CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(5));
  }
}

TEST_CASE("A9.7 a binary subkey that has to name its owner") {
  CHECK(BytesWithPublicKey::from_value(to_bytes("x[owner:a]")));
  CHECK_FALSE(BytesWithPublicKey::from_value(to_bytes("x[owner:]")));
  CHECK_FALSE(BytesWithPublicKey::from_value("x[owner:a]"));
}
