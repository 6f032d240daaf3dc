#include "skep/kademlia/disjoint_lookup.hpp"

#include <algorithm>
#include <initializer_list>
#include <set>
#include <vector>

#include <doctest/doctest.h>
#include "skep/core/random.hpp"

using namespace skep;
using Id = kademlia::Id<160>;
using Entry = kademlia::Entry<Id, int>;
using Lookup = kademlia::DisjointLookup<Id, int>;

namespace {
Id id_of(int first) {
  Bytes bytes(20);
  bytes.front() = static_cast<std::uint8_t>(first);
  return *Id::from_bytes(bytes);
}
Entry peer(int n) { return {id_of(n), n}; }
std::vector<Entry> peers(std::initializer_list<int> numbers) {
  std::vector<Entry> out;
  for (const int n : numbers) out.push_back(peer(n));
  return out;
}
std::vector<int> asked(Lookup& lookup) {
  std::vector<int> out;
  while (const auto entry = lookup.next()) out.push_back(entry->contact);
  return out;
}
}  // namespace

TEST_CASE("with one path it is a lookup") {
  Lookup lookup(id_of(0), {}, 1, {.width = 2, .parallelism = 2});
  lookup.add(peers({3, 1, 2}));
  CHECK(asked(lookup) == std::vector{1, 2});
  lookup.answered(peer(1));
  lookup.add(peers({9}), peer(1));
  CHECK(lookup.room() == 1);
  lookup.failed(peer(2));
  CHECK(asked(lookup) == std::vector{3});
  lookup.answered(peer(3));
  CHECK(lookup.finished());
  CHECK(lookup.nearest(2) == peers({1, 3}));
  CHECK(lookup.requests() == 3);
}

TEST_CASE("what is known at first is dealt out, and each path asks by itself") {
  Lookup lookup(id_of(0), {}, 2, {.width = 2, .parallelism = 1});
  lookup.add(peers({1, 2, 3, 4}));  // 1 and 3 on the first path, 2 and 4 on the second
  CHECK(lookup.room() == 2);
  CHECK(asked(lookup) == std::vector{1, 2});
  CHECK(lookup.in_flight() == 2);
  lookup.answered(peer(1));
  CHECK(asked(lookup) == std::vector{3});
  lookup.answered(peer(3));
  CHECK_FALSE(lookup.finished());
  lookup.answered(peer(2));
  CHECK(asked(lookup) == std::vector{4});
  lookup.failed(peer(4));
  CHECK(lookup.finished());
  CHECK(lookup.nearest(9) == peers({1, 2, 3}));
}

TEST_CASE("what a peer names belongs to its path, and nobody is asked on two") {
  Lookup lookup(id_of(0), {}, 2, {.width = 3, .parallelism = 1});
  lookup.add(peers({8, 9}));
  CHECK(asked(lookup) == std::vector{8, 9});
  lookup.answered(peer(8));
  lookup.add(peers({1, 2}), peer(8));
  CHECK(asked(lookup) == std::vector{1});
  lookup.answered(peer(9));
  lookup.add(peers({1, 2}), peer(9));                      // 1 is the other path's by now
  lookup.add(std::vector<Entry>{{id_of(3), 1}}, peer(9));  // under any id
  CHECK(asked(lookup) == std::vector{2});
  lookup.answered(peer(1));
  CHECK(asked(lookup).empty());
  lookup.slow(peer(2));
  CHECK_FALSE(lookup.finished());
  lookup.failed(peer(2));
  CHECK(lookup.finished());
  lookup.add(peers({5}), peer(77));  // nobody asked 77
  CHECK(lookup.finished());
}

TEST_CASE("paths that know one id with different contacts end each by its own") {
  Lookup lookup(id_of(0), {}, 2, {.width = 3, .parallelism = 1});
  lookup.add(peers({8, 9}));
  CHECK(asked(lookup) == std::vector{8, 9});
  for (const int n : {8, 9}) {
    lookup.answered(peer(n));
    lookup.add(std::vector<Entry>{{id_of(1), 10 * n}}, peer(n));
  }
  CHECK_FALSE(lookup.ask({id_of(1), 70}));
  CHECK(asked(lookup) == std::vector{80, 90});
  SUBCASE("one way round") {
    lookup.failed({id_of(1), 80});
    CHECK_FALSE(lookup.finished());
    lookup.answered({id_of(1), 90});
    CHECK(lookup.nearest(1) == std::vector<Entry>{{id_of(1), 90}});
  }
  SUBCASE("and the other") {
    lookup.failed({id_of(1), 90});
    CHECK_FALSE(lookup.finished());
    lookup.answered({id_of(1), 80});
    CHECK(lookup.nearest(1) == std::vector<Entry>{{id_of(1), 80}});
  }
  CHECK(lookup.finished());
  CHECK(lookup.in_flight() == 0);
}

TEST_CASE("a captured path ends alone, the others reach the target") {
  // Peer 0x40 and whom it names are liars, nearer to the target than all honest peers but silent about those.
  Random random(3);
  std::set<int> liars{0x40};
  for (int n = 1; n <= 12; ++n) liars.insert(n);
  const auto run = [&](std::size_t paths) {
    Lookup lookup(id_of(0), {}, paths, {.width = 4, .parallelism = 1});
    lookup.add(peers({0x40, 0x41, 0x42, 0x43}));
    std::set<int> reached;
    while (!lookup.finished()) {
      for (const int n : asked(lookup)) {
        reached.insert(n);
        lookup.answered(peer(n));
        std::vector<Entry> named;
        if (liars.contains(n)) {
          named = peers({1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12});
        } else {
          for (int i = 0; i < 4; ++i) named.push_back(peer(0x10 + static_cast<int>(random.below(8))));
        }
        lookup.add(named, peer(n));
      }
    }
    return std::count_if(reached.begin(), reached.end(), [](int n) { return n >= 0x10 && n < 0x18; });
  };
  CHECK(run(1) == 0);
  CHECK(run(4) >= 4);
}

TEST_CASE("paths share the budget of requests") {
  Lookup lookup(id_of(0), {}, 4, {.width = 50, .parallelism = 50, .max_requests = 8});
  std::vector<Entry> many;
  for (int n = 1; n < 100; ++n) many.push_back(peer(n));
  lookup.add(many);
  CHECK(asked(lookup).size() == 8);
}
