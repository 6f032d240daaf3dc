#include "skep/kademlia/lookup.hpp"

#include <algorithm>
#include <map>
#include <vector>

#include <doctest/doctest.h>
#include "skep/kademlia/routing_table.hpp"

using namespace skep;
using Id = kademlia::Id<160>;
using Entry = kademlia::Entry<Id, int>;
using kademlia::NearestAnswered;
using Lookup = kademlia::Lookup<Id, int>;

namespace {
Id id_of(std::uint8_t first) {
  Bytes bytes(20);
  bytes.front() = first;
  return *Id::from_bytes(bytes);
}
Entry peer(int n) { return {id_of(static_cast<std::uint8_t>(n)), n}; }
}  // namespace

TEST_CASE("the nearest are asked first, so many at once as the policy says") {
  Lookup lookup(id_of(0), {}, {.width = 3, .parallelism = 2});
  for (const int n : {9, 1, 5, 3}) lookup.add(peer(n));
  CHECK(lookup.next()->contact == 1);
  CHECK(lookup.next()->contact == 3);
  CHECK_FALSE(lookup.next());
  lookup.answered(peer(3));
  lookup.add(peer(2));
  CHECK(lookup.next()->contact == 2);
  lookup.answered(peer(1));
  CHECK_FALSE(lookup.next());  // 1 and 3 have answered and 2 is about to: 5 is not needed
  CHECK_FALSE(lookup.finished());
  lookup.answered(peer(2));
  CHECK(lookup.finished());
  CHECK(lookup.requests() == 3);
  CHECK(lookup.nearest(2) == std::vector{peer(1), peer(2)});
}

TEST_CASE("who fails is replaced by the next nearest and not listed") {
  Lookup lookup(id_of(0), {}, {.width = 2, .parallelism = 2});
  for (const int n : {1, 2, 3}) lookup.add(peer(n));
  CHECK(lookup.next());
  CHECK(lookup.next());
  lookup.answered(peer(2));
  CHECK_FALSE(lookup.next());
  lookup.failed(peer(1));
  CHECK(lookup.next()->contact == 3);
  lookup.answered(peer(3));
  CHECK(lookup.finished());
  CHECK(lookup.nearest(9) == std::vector{peer(2), peer(3)});
}

TEST_CASE("the search does not wait for a dead peer once others suffice") {
  Lookup lookup(id_of(0), {}, {.width = 2, .parallelism = 1});
  for (const int n : {1, 2, 3}) lookup.add(peer(n));
  CHECK(lookup.next()->contact == 1);
  CHECK_FALSE(lookup.next());
  lookup.slow(peer(1));
  CHECK(lookup.next()->contact == 2);
  lookup.answered(peer(2));
  CHECK_FALSE(lookup.finished());
  CHECK(lookup.next()->contact == 3);
  lookup.answered(peer(3));
  CHECK(lookup.finished());
  CHECK(lookup.nearest(3) == std::vector{peer(2), peer(3), peer(1)});
  SUBCASE("a late answer still counts") {
    lookup.answered(peer(1));
    CHECK(lookup.nearest(3) == std::vector{peer(1), peer(2), peer(3)});
  }
}

TEST_CASE("when all are slow the search waits for them") {
  Lookup lookup(id_of(0), {}, {.width = 5, .parallelism = 1});
  lookup.add(peer(1));
  CHECK(lookup.next());
  lookup.slow(peer(1));
  CHECK_FALSE(lookup.next());
  CHECK_FALSE(lookup.finished());
  lookup.answered(peer(1));
  CHECK(lookup.finished());
}

TEST_CASE("A3.22 ourselves among the neighbours is dropped") {
  Lookup lookup(id_of(0), id_of(1));
  lookup.add(peer(1));
  CHECK_FALSE(lookup.next());
  CHECK(lookup.finished());
  CHECK(lookup.nearest(9).empty());
}

TEST_CASE("A7.7 answers out of turn, twice, or from strangers change nothing") {
  Lookup lookup(id_of(0), {});
  lookup.answered(peer(7));
  lookup.add(peer(1));
  lookup.answered(peer(1));
  lookup.slow(peer(1));
  CHECK(lookup.next()->contact == 1);
  lookup.answered(peer(1));
  lookup.failed(peer(1));
  lookup.add(peer(1));
  CHECK(lookup.finished());
  CHECK(lookup.nearest(9) == std::vector{peer(1)});
}

TEST_CASE("a liar who invents ever nearer peers is stopped by the limit") {
  Random engine(5);
  Lookup lookup(id_of(0), {}, {.width = 20, .parallelism = 3, .max_requests = 40});
  lookup.add(peer(255));
  int asked = 0;
  while (const auto entry = lookup.next()) {
    ++asked;
    for (int i = 0; i < 20; ++i) {
      Bytes nearer(20);
      engine.fill(nearer);
      std::fill_n(nearer.begin(), std::min(asked / 3, 19), std::uint8_t{0});
      lookup.add(Entry{*Id::from_bytes(nearer), i});
    }
    lookup.answered(*entry);
  }
  CHECK(asked <= 40);
  CHECK(lookup.finished());
}

TEST_CASE("in a swarm of routing tables the search finds the exact nearest, few requests each") {
  using Table = kademlia::RoutingTable<Id, int>;
  Random engine(23);
  constexpr int nodes = 512;
  std::vector<Id> ids;
  std::vector<Table> tables;
  for (int i = 0; i < nodes; ++i) ids.push_back(Id::random(engine));
  for (int i = 0; i < nodes; ++i) {
    Table table(ids[static_cast<std::size_t>(i)]);
    for (int k = 0; k < 200; ++k) {
      const auto other = engine.below(nodes);
      table.heard(ids[other], static_cast<int>(other));
    }
    for (const auto& neighbour : ids) {  // everyone knows its own neighbourhood, as after joining
      if ((neighbour ^ table.self()).leading_zeros() >= 5) {
        table.heard(neighbour, static_cast<int>(std::find(ids.begin(), ids.end(), neighbour) - ids.begin()));
      }
    }
    tables.push_back(std::move(table));
  }
  std::size_t exact = 0;
  std::size_t requests = 0;
  constexpr std::size_t rounds = 200;
  for (std::size_t round = 0; round < rounds; ++round) {
    const Id target = Id::random(engine);
    const auto start = engine.below(nodes);
    Lookup lookup(target, ids[start], {.width = 5, .parallelism = 3});
    lookup.add(tables[start].nearest(target, 20));
    while (const auto entry = lookup.next()) {
      lookup.add(tables[static_cast<std::size_t>(entry->contact)].nearest(target, 20));
      lookup.answered(*entry);
    }
    CHECK(lookup.finished());
    auto expected = ids;
    std::erase(expected, ids[start]);
    std::sort(expected.begin(), expected.end(), [&](const Id& a, const Id& b) { return (a ^ target) < (b ^ target); });
    const auto found = lookup.nearest(5);
    exact += std::equal(found.begin(), found.end(), expected.begin(),
                        [](const Entry& e, const Id& id) { return e.id == id; });
    requests += lookup.requests();
  }
  CHECK(exact >= rounds * 99 / 100);
  CHECK(requests <= rounds * 9);
}

TEST_CASE("a peer is asked once, whatever ids others know it by") {
  Lookup lookup(id_of(0), {}, {.width = 3, .parallelism = 2});
  lookup.add({id_of(1), 7});
  lookup.add({id_of(2), 7});
  lookup.add({id_of(9), 8});
  CHECK(lookup.next()->id == id_of(1));
  CHECK(lookup.next()->contact == 8);
  lookup.add({id_of(3), 7});
  lookup.answered({id_of(1), 7});
  lookup.add({id_of(4), 7});
  CHECK_FALSE(lookup.next());
  CHECK(lookup.has_asked(7));
  CHECK(lookup.has_asked(Entry{id_of(1), 7}));
  CHECK_FALSE(lookup.has_asked(Entry{id_of(2), 7}));
  lookup.answered({id_of(9), 8});
  CHECK(lookup.nearest(9).size() == 2);
}

TEST_CASE("who is named with an id that is taken waits until the other has failed") {
  Lookup lookup(id_of(0), {}, {.width = 2, .parallelism = 2});
  lookup.add({id_of(1), 7});
  lookup.add({id_of(1), 8});
  CHECK(lookup.next()->contact == 7);
  CHECK_FALSE(lookup.next());
  lookup.answered({id_of(1), 8});
  lookup.failed({id_of(1), 8});
  CHECK_FALSE(lookup.finished());
  CHECK(lookup.knows(id_of(1)));
  lookup.failed({id_of(1), 7});
  CHECK_FALSE(lookup.knows(id_of(1)));
  lookup.add({id_of(1), 7});
  CHECK_FALSE(lookup.next());
  lookup.add({id_of(1), 8});
  CHECK(lookup.ask({id_of(1), 8}));
  CHECK_FALSE(lookup.ask({id_of(1), 8}));
  CHECK_FALSE(lookup.ask({id_of(1), 9}));
  lookup.answered({id_of(1), 8});
  CHECK(lookup.nearest(2) == std::vector<Entry>{{id_of(1), 8}});
  CHECK(lookup.requests() == 2);
}

TEST_CASE("who answers under another id counts where it stands") {
  Lookup lookup(id_of(0), id_of(0x33), {.width = 2, .parallelism = 1});
  lookup.add({id_of(1), 7});
  lookup.add({id_of(5), 8});
  lookup.add({id_of(6), 9});
  CHECK(lookup.next()->contact == 7);
  lookup.answered({id_of(1), 7});
  SUBCASE("far away") {
    lookup.renamed({id_of(1), 7}, id_of(0x80));
    CHECK(lookup.next()->contact == 8);
    lookup.answered({id_of(5), 8});
    CHECK(lookup.next()->contact == 9);  // 7 is none of the two nearest
    lookup.answered({id_of(6), 9});
    CHECK(lookup.finished());
    CHECK(lookup.nearest(3) == std::vector<Entry>{{id_of(5), 8}, {id_of(6), 9}, {id_of(0x80), 7}});
  }
  SUBCASE("nowhere: as a client, as ourselves, or as somebody else") {
    SUBCASE("") { lookup.renamed({id_of(1), 7}, std::nullopt); }
    SUBCASE("") { lookup.renamed({id_of(1), 7}, id_of(0x33)); }
    SUBCASE("") { lookup.renamed({id_of(1), 7}, id_of(6)); }
    CHECK(lookup.nearest(3) == std::vector<Entry>{{id_of(5), 8}, {id_of(6), 9}});
    lookup.add({id_of(1), 7});
    lookup.add({id_of(2), 7});
    CHECK(lookup.next()->contact == 8);  // 7 was asked
    lookup.answered({id_of(5), 8});
    CHECK(lookup.next()->contact == 9);
    lookup.answered({id_of(6), 9});
    CHECK(lookup.finished());
    CHECK(lookup.requests() == 3);
  }
  SUBCASE("only after it has answered, and not under the same id") {
    lookup.renamed({id_of(5), 8}, id_of(2));
    lookup.renamed({id_of(1), 7}, id_of(1));
    CHECK(lookup.nearest(3) == std::vector<Entry>{{id_of(1), 7}, {id_of(5), 8}, {id_of(6), 9}});
  }
}

TEST_CASE("the search does not wait for farther peers once enough nearer ones have answered") {
  Lookup lookup(id_of(0), {}, {.width = 2, .parallelism = 3});
  for (const int n : {1, 2}) lookup.add(peer(n));
  CHECK(lookup.next()->contact == 1);
  CHECK(lookup.next()->contact == 2);
  lookup.slow(peer(2));
  lookup.add(peer(3));
  CHECK(lookup.next()->contact == 3);
  lookup.answered(peer(1));
  CHECK_FALSE(lookup.finished());
  lookup.answered(peer(2));
  CHECK(lookup.finished());
  CHECK(lookup.in_flight() == 1);
}

TEST_CASE("an answer that leads nearer is followed at once, whatever is still in flight") {
  Lookup lookup(id_of(0), {}, {.width = 3, .parallelism = 2});
  for (const int n : {20, 21, 22}) lookup.add(peer(n));
  CHECK(lookup.next()->contact == 20);
  CHECK(lookup.next()->contact == 21);
  lookup.answered(peer(20));
  for (const int n : {1, 2, 3}) lookup.add(peer(n));
  CHECK(lookup.room() == 2);
  CHECK(lookup.next()->contact == 1);
  CHECK(lookup.next()->contact == 2);
  CHECK_FALSE(lookup.next());
  CHECK(lookup.in_flight() == 3);
}

TEST_CASE("a hedge asks somebody else, but does not end the search") {
  Lookup lookup(id_of(0), {}, {.width = 2, .parallelism = 2});
  for (const int n : {1, 2, 3, 4}) lookup.add(peer(n));
  CHECK(lookup.next()->contact == 1);
  CHECK(lookup.next()->contact == 2);
  lookup.hedge(peer(1));
  CHECK(lookup.next()->contact == 3);
  lookup.answered(peer(2));
  lookup.answered(peer(3));
  CHECK_FALSE(lookup.finished());
  SUBCASE("until it answers") { lookup.answered(peer(1)); }
  SUBCASE("until it fails") { lookup.failed(peer(1)); }
  SUBCASE("until it is slow") { lookup.slow(peer(1)); }
  CHECK(lookup.finished());
}
