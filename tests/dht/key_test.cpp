#include "skep/dht/key.hpp"

#include <doctest/doctest.h>
#include "support/python_literal.hpp"
#include "support/vectors.hpp"

using namespace skep;
using dht::key_id;

TEST_CASE("A5.1 keys are SHA-1 of their MessagePack, binary keys of their bytes") {
  CHECK(to_hex(key_id("key1").bytes()) == "ce27c561a2627a439cecb58acff4927706cc6418");
  CHECK(to_hex(key_id(to_bytes("key1")).bytes()) == "1073ab6cda4b991cd29f9e83a307f34004ae9327");
  CHECK(to_hex(key_id("expert.1.").bytes()) == "14272611bbef6ece2bd9c54dc79de5477e301a0e");
  CHECK(to_hex(key_id(123).bytes()) == "60ba4b2daa4ed4d070fec06687e249e0e6f9ee45");
}

TEST_CASE("J1 the recorded ids of Hivemind") {
  for (const auto& entry : skep_test::vector_of("dht", "ids").at("cases")) {
    const auto text = entry.at("key").get<std::string>();
    CAPTURE(text);
    CHECK(to_hex(key_id(skep_test::PythonLiteral::read(text)).bytes()) == entry.at("id").get<std::string>());
  }
}
