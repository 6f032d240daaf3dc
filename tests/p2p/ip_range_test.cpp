#include "skep/p2p/ip_range.hpp"

#include <doctest/doctest.h>

#include "support/vectors.hpp"

namespace detail = skep::p2p::detail;
using skep_test::unhex;

TEST_CASE("a prefix may end inside a byte") {
  const auto ip = unhex("64400001");  // 100.64.0.1
  CHECK(detail::is_within(ip, 4, {100, 64}, 10));
  CHECK(detail::is_within(ip, 4, {100, 127}, 10));
  CHECK(!detail::is_within(ip, 4, {100, 128}, 10));
  CHECK(!detail::is_within(ip, 4, {100, 127}, 16));
  CHECK(!detail::is_within(ip, 16, {100, 64}, 10));
}

TEST_CASE("what is no address is in no range") {
  for (const char* hex : {"", "7f", "7f000001ff"}) {
    CHECK(!detail::is_loopback_ip(unhex(hex)));
    CHECK(!detail::is_private_ip(unhex(hex)));
    CHECK(!detail::is_unspecified_ip(unhex(hex)));
  }
}

TEST_CASE("IPv4 inside IPv6 is IPv4") {
  CHECK(detail::is_private_ip(unhex("00000000000000000000ffff0a000001")));
  CHECK(detail::is_loopback_ip(unhex("00000000000000000000ffff7f000001")));
  CHECK(detail::is_loopback_ip(unhex("00000000000000000000000000000001")));
  CHECK(!detail::is_loopback_ip(unhex("00010000000000000000000000000001")));
}
