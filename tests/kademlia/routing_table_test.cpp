#include "skep/kademlia/routing_table.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include <doctest/doctest.h>

using namespace skep;
using Id = kademlia::Id<160>;
using kademlia::SplitBuckets;
using Table = kademlia::RoutingTable<Id, int>;
using Heard = Table::Outcome;

namespace {
Id id_of(std::uint8_t first, std::uint8_t last = 0) {
  Bytes bytes(20);
  bytes.front() = first;
  bytes.back() = last;
  return *Id::from_bytes(bytes);
}
std::vector<int> contacts(const std::vector<Table::entry_type>& entries) {
  std::vector<int> out;
  for (const auto& entry : entries) out.push_back(entry.contact);
  return out;
}
}  // namespace

TEST_CASE("A5.6 nearest equals brute force, with and without an excluded peer") {
  Random engine(7);
  for (const std::size_t population : {0U, 1U, 5U, 100U, 3000U}) {
    Table table(Id::random(engine));
    for (std::size_t i = 0; i < population; ++i) table.heard(Id::random(engine), static_cast<int>(i));
    std::vector<Table::entry_type> all;
    table.for_each([&](const Table::entry_type& entry) { all.push_back(entry); });
    CHECK(all.size() == table.size());
    for (int round = 0; round < 50; ++round) {
      const Id target = round % 2 || all.empty() ? Id::random(engine) : all[engine.below(all.size())].id;
      const std::size_t count = engine.below(40);
      std::optional<Id> exclude;
      if (round % 3 == 0 && !all.empty()) exclude = all[engine.below(all.size())].id;
      auto expected = all;
      std::erase_if(expected, [&](const auto& entry) { return entry.id == exclude; });
      std::sort(expected.begin(), expected.end(),
                [&](const auto& a, const auto& b) { return (a.id ^ target) < (b.id ^ target); });
      expected.resize(std::min(count, expected.size()));
      CHECK(table.nearest(target, count, exclude) == expected);
    }
  }
}

TEST_CASE("A5.8 the number of buckets is that of Hivemind") {
  struct Row {
    std::size_t nodes, bucket_size, depth_modulo, least, most;
  };
  for (const Row row : {Row{100, 20, 5, 6, 10}, Row{10'000, 20, 5, 50, 56}, Row{10'000, 50, 5, 37, 42},
                        Row{10'000, 20, 10, 700, 740}, Row{10'000, 20, 1, 9, 12}}) {
    Random engine(row.bucket_size + row.depth_modulo);
    Table table(Id::random(engine), {.bucket_size = row.bucket_size, .depth_modulo = row.depth_modulo});
    for (std::size_t i = 0; i < row.nodes; ++i) table.heard(Id::random(engine), static_cast<int>(i));
    CAPTURE(row.bucket_size);
    CAPTURE(row.depth_modulo);
    CHECK(table.bucket_count() >= row.least);
    CHECK(table.bucket_count() <= row.most);
  }
}

TEST_CASE("A5.4 an id exactly at the midpoint of a split goes where it belongs") {
  Table table(id_of(0), {.bucket_size = 1, .depth_modulo = 5, .replacements = 4});
  const Id midpoint = id_of(0x80);
  CHECK(table.heard(midpoint, 1).outcome == Heard::added);
  CHECK(table.heard(id_of(1), 2).outcome == Heard::added);
  REQUIRE(table.find(midpoint));
  CHECK(*table.find(midpoint) == 1);
  CHECK(contacts(table.nearest(id_of(0x81), 1)) == std::vector{1});
  CHECK(table.silent(midpoint));
  CHECK(table.size() == 1);
}

TEST_CASE("A5.3 A5.5 a full bucket that may not split asks after its least recently heard peer") {
  Table table(id_of(0), {.bucket_size = 2, .depth_modulo = 1, .replacements = 2});
  table.heard(id_of(0x80), 1);
  table.heard(id_of(0x81), 2);
  table.heard(id_of(0x80), 1);  // 2 is now the one that was not heard for longest
  const auto first = table.heard(id_of(0x82), 3);
  CHECK(first.outcome == Heard::spare);
  REQUIRE(first.ping);
  CHECK(first.ping->contact == 2);
  const auto second = table.heard(id_of(0x83), 4);
  REQUIRE(second.ping);
  CHECK(second.ping->contact == 1);  // 2 is being asked already
  CHECK_FALSE(table.heard(id_of(0x84), 5).ping);

  SUBCASE("A5.5 a sign of life ends the question") {
    table.heard(id_of(0x81), 2);
    const auto third = table.heard(id_of(0x85), 6);
    REQUIRE(third.ping);
    CHECK(third.ping->contact == 2);
  }
  SUBCASE("A5.5 silence gives the place to the newest spare") {
    CHECK(table.silent(id_of(0x81)));
    CHECK(contacts(table.nearest(id_of(0x80), 9)) == std::vector{1, 5});
  }
}

TEST_CASE("A4.10 a peer that was heard lately is not asked for its place") {
  Table table(id_of(0), {.bucket_size = 2, .depth_modulo = 1, .replacements = 2, .trusted_for = 2min});
  const auto at = [](Duration since) { return SteadyTime{} + 1h + since; };
  table.heard(id_of(0x80), 1, at(0s));
  table.heard(id_of(0x81), 2, at(60s));
  CHECK_FALSE(table.heard(id_of(0x82), 3, at(119s)).ping);
  const auto asked = table.heard(id_of(0x82), 3, at(120s));
  REQUIRE(asked.ping);
  CHECK(asked.ping->contact == 1);
  CHECK_FALSE(table.heard(id_of(0x82), 3, at(121s)).ping);  // 2 was heard a minute ago
  table.heard(id_of(0x80), 1, at(122s));                    // it lives, and 2 is now the one not heard for longest
  CHECK(table.heard(id_of(0x82), 3, at(181s)).ping->contact == 2);
  CHECK(table.silent(id_of(0x81)));  // nobody knows how long ago its successor was heard
  table.heard(id_of(0x83), 4, at(182s));
  CHECK(table.heard(id_of(0x83), 4, at(243s)).ping->contact == 1);
}

TEST_CASE("A5.9 H-26 replacements are bounded") {
  Random engine(3);
  Table table(Id::random(engine));
  for (int i = 0; i < 20'000; ++i) table.heard(Id::random(engine), i);
  CHECK(table.size() <= table.bucket_count() * 20);
  CHECK(table.spare_count() <= table.bucket_count() * 20);
}

TEST_CASE("A4.12 nobody takes over the id of a living peer, and we are not our own neighbour") {
  Table table(id_of(1));
  CHECK(table.heard(id_of(1), 9).outcome == Heard::refused);
  table.heard(id_of(2), 1);
  const auto claim = table.heard(id_of(2), 6);
  CHECK(claim.outcome == Heard::refused);
  REQUIRE(claim.ping);
  CHECK(claim.ping->contact == 1);
  CHECK(*table.find(id_of(2)) == 1);
  CHECK(table.silent(id_of(2)));
  CHECK(table.heard(id_of(2), 6).outcome == Heard::added);
}

TEST_CASE("A4.12 who names an id with another contact cannot make its owner leave") {
  Table table(id_of(0xff), {.bucket_size = 1, .depth_modulo = 1, .replacements = 1});
  table.heard(id_of(1), 1);
  table.heard(id_of(2), 2);  // its spare
  REQUIRE(table.spare_count() == 1);
  CHECK_FALSE(table.silent(Table::entry_type{id_of(1), 9}));
  CHECK_FALSE(table.silent(Table::entry_type{id_of(2), 9}));
  CHECK_FALSE(table.silent(Table::entry_type{id_of(3), 1}));
  CHECK(table.size() == 1);
  CHECK(table.spare_count() == 1);
  CHECK(table.silent(Table::entry_type{id_of(2), 2}));
  CHECK(table.spare_count() == 0);
  CHECK(table.silent(Table::entry_type{id_of(1), 1}));
  CHECK(table.size() == 0);
}

TEST_CASE("A5.7 a contact leaves whatever its id is") {
  Table table(id_of(1));
  table.heard(id_of(2), 1);
  table.heard(id_of(3), 1);
  table.heard(id_of(4), 2);
  CHECK(table.size() == 2);
  CHECK(table.silent_contact(1));
  CHECK(table.size() == 1);
  CHECK_FALSE(table.silent_contact(1));
  CHECK_FALSE(table.silent(id_of(3)));
}

TEST_CASE("A5.2 every peer that was added stays reachable through splits and departures") {
  Random engine(11);
  Table table(Id::random(engine), {.bucket_size = 4, .depth_modulo = 3, .replacements = 4});
  std::vector<Id> ids;
  for (int i = 0; i < 2000; ++i) {
    ids.push_back(Id::random(engine));
    table.heard(ids.back(), i);
    if (i % 3 == 0) table.silent(ids[engine.below(ids.size())]);
  }
  std::size_t seen = 0;
  table.for_each([&](const Table::entry_type& entry) {
    ++seen;
    const int* contact = table.find(entry.id);
    REQUIRE(contact);
    CHECK(*contact == entry.contact);
  });
  CHECK(seen == table.size());
}

TEST_CASE("A3.35 A3.36 H-11: buckets that were silent for long are named by a random id of their range") {
  Random engine(11);
  Table table(id_of(0), {.bucket_size = 4});
  for (int i = 0; i < 200; ++i) table.heard(Id::random(engine), i, SteadyTime(10s));
  CHECK(table.quiet(SteadyTime(9s), engine).empty());
  const auto quiet = table.quiet(SteadyTime(10s), engine);
  REQUIRE(quiet.size() == table.bucket_count());
  for (std::size_t i = 0; i < quiet.size(); ++i)
    table.heard(quiet[i], 1000 + static_cast<int>(i), SteadyTime(20s));  // one in each bucket
  CHECK(table.quiet(SteadyTime(19s), engine).empty());
}

TEST_CASE("a contact that comes under ever new ids has one place") {
  Random engine(5);
  Table table(Id::random(engine));
  for (int i = 0; i < 30; ++i) table.heard(Id::random(engine), i);
  const std::size_t before = table.size() + table.spare_count();
  Id last;
  for (int i = 0; i < 100; ++i) {
    last = Id::random(engine);
    table.heard(last, 99);
  }
  CHECK(table.size() + table.spare_count() == before + 1);
  CHECK(table.silent(last));
}
