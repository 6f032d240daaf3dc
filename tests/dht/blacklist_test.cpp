#include "skep/dht/blacklist.hpp"

#include <doctest/doctest.h>

using namespace skep;
using dht::Blacklist;

namespace {
p2p::PeerId peer(std::uint8_t n) { return *p2p::PeerId::from_bytes(Bytes{0, 1, n}); }
SteadyTime at(Duration t) { return SteadyTime(t); }
}  // namespace

TEST_CASE("A3.32 bans last 5, 10, 20 seconds, and a success forgives everything") {
  Blacklist list;
  CHECK_FALSE(list.banned(peer(1), at(0s)));
  list.failed(peer(1), at(0s));
  CHECK(list.banned(peer(1), at(4999ms)));
  CHECK_FALSE(list.banned(peer(1), at(5s)));
  CHECK_FALSE(list.banned(peer(2), at(1s)));
  list.failed(peer(1), at(5s));
  list.failed(peer(1), at(6s));  // while banned: does not count
  CHECK(list.banned(peer(1), at(14s)));
  CHECK_FALSE(list.banned(peer(1), at(15s)));
  list.failed(peer(1), at(15s));
  CHECK(list.banned(peer(1), at(34s)));
  list.succeeded(peer(1));
  CHECK_FALSE(list.banned(peer(1), at(34s)));
  list.failed(peer(1), at(40s));
  CHECK_FALSE(list.banned(peer(1), at(45s)));
}

TEST_CASE("A3.32 A3.34 bans and memory are bounded, and a base of zero bans nobody") {
  Blacklist list({.longest = 1min, .capacity = 3});
  SteadyTime now = at(0s);
  for (int i = 0; i < 20; ++i) {
    list.failed(peer(1), now);
    now += 1min;
  }
  CHECK_FALSE(list.banned(peer(1), now));
  for (std::uint8_t n = 10; n < 50; ++n) list.failed(peer(n), now);
  CHECK(list.size() == 3);
  list.clear();
  CHECK(list.size() == 0);
  Blacklist off({.base = 0s});
  off.failed(peer(1), now);
  CHECK_FALSE(off.banned(peer(1), now));
}
