#include "skep/dht/auth_error.hpp"

#include <doctest/doctest.h>

#include <string>

using skep::dht::auth_errc;

TEST_CASE("every reason has a sentence and is a code of its own") {
  for (int i = 1; i <= static_cast<int>(auth_errc::busy); ++i) {
    const std::error_code code = static_cast<auth_errc>(i);
    CHECK(code.message() != "unknown error");
    CHECK(std::string(code.category().name()) == "skep.auth");
  }
  CHECK(std::error_code(auth_errc::replayed) != std::error_code(auth_errc::busy));
}
