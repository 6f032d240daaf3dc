#include "skep/kademlia/id.hpp"

#include <unordered_set>

#include <doctest/doctest.h>

using namespace skep;
using Id = kademlia::Id<160>;

namespace {
Id id_of(std::uint8_t first, std::uint8_t last = 0) {
  Bytes bytes(20);
  bytes.front() = first;
  bytes.back() = last;
  return *Id::from_bytes(bytes);
}
}  // namespace

TEST_CASE("ids are big-endian numbers of any length below 2^160") {
  CHECK(*Id::from_bytes(Bytes{}) == Id());
  CHECK(*Id::from_bytes(Bytes{5}) == id_of(0, 5));
  CHECK(*Id::from_bytes(Bytes(25, 0)) == Id());
  Bytes too_large(21);
  too_large[0] = 1;
  CHECK_FALSE(Id::from_bytes(too_large));
  CHECK(id_of(0, 255) < id_of(1));
  CHECK(id_of(1).bytes().size() == 20);
}

TEST_CASE("distance is XOR, prefixes are leading zeros of a distance") {
  CHECK((id_of(0x80) ^ id_of(0x81)) == id_of(1));
  CHECK((id_of(0x80) ^ id_of(0x81)).leading_zeros() == 7);
  CHECK((id_of(3) ^ id_of(3)).leading_zeros() == 160);
  CHECK(id_of(0x40).bit(1));
  CHECK_FALSE(id_of(0x40).bit(0));
  CHECK(id_of(0, 1).bit(159));
  Id set;
  set.set_bit(159);
  CHECK(set == id_of(0, 1));
}

TEST_CASE("random ids differ and hash well") {
  Random engine(1);
  std::unordered_set<Id> seen;
  for (int i = 0; i < 1000; ++i) seen.insert(Id::random(engine));
  CHECK(seen.size() == 1000);
}
