#include "skep/p2p/error.hpp"

#include <doctest/doctest.h>

#include "skep/p2p/payload.hpp"

TEST_CASE("p2p codes have their own category and a sentence each") {
  const std::error_code code = skep::p2p::errc::wrong_peer;
  CHECK(std::string(code.category().name()) == "skep.p2p");
  CHECK(code.message() == "the peer is not the one that was dialled");
  CHECK(code != make_error_code(skep::errc::limit_exceeded));
  for (int value = 1; value <= static_cast<int>(skep::p2p::errc::going_away); ++value) {
    CHECK(skep::p2p::describe(static_cast<skep::p2p::errc>(value)) != "unknown error");
  }
}

TEST_CASE("a general code is still itself beside them") {
  skep::p2p::BytesSink sink(10);
  CHECK(sink.start(11) == skep::errc::limit_exceeded);
}
