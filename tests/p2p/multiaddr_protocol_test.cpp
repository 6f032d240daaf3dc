#include "skep/p2p/multiaddr_protocol.hpp"

#include <doctest/doctest.h>

namespace detail = skep::p2p::detail;
using skep::p2p::MultiaddrCode;

TEST_CASE("a protocol is found by its code and by its name") {
  for (const auto& protocol : detail::multiaddr_protocols) {
    CHECK(detail::find_protocol(protocol.name) == &protocol);
    CHECK(detail::find_protocol(static_cast<std::uint64_t>(protocol.code)) == &protocol);
  }
  CHECK(detail::find_protocol("ipfs")->code == MultiaddrCode::p2p);
  CHECK(detail::find_protocol("onion3") == nullptr);
  CHECK(detail::find_protocol(std::uint64_t{445}) == nullptr);
}

TEST_CASE("names do not break the text they stand in") {
  CHECK(detail::is_plain("example.org", false));
  CHECK(!detail::is_plain("", false));
  CHECK(!detail::is_plain("a/b", false));
  CHECK(detail::is_plain("a/b", true));
  CHECK(!detail::is_plain("a b", true));
  CHECK(!detail::is_plain("a\x1b[2J", true));
}
