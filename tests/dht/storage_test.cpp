#include "skep/dht/storage.hpp"

#include <cmath>
#include <limits>
#include <map>

#include <doctest/doctest.h>
#include "skep/core/random.hpp"

using namespace skep;
using dht::DHTID;
using dht::Dictionary;
using dht::Item;
using dht::Storage;
using dht::StorageLimits;
using dht::StoreOutcome;

namespace {
const DHTID key = dht::key_id("key");
const Bytes a{0xa1, 'a'};
const Bytes b{0xa1, 'b'};
Item item(std::uint8_t value, double expiration) { return {{value}, {expiration}}; }
}  // namespace

TEST_CASE("A6.1 only a strictly later expiration replaces a value") {
  Storage s;
  CHECK(s.store(key, item(1, 10), {5}) == StoreOutcome::accepted);
  CHECK(s.store(key, item(2, 10), {5}) == StoreOutcome::older);
  CHECK(s.store(key, item(2, 9), {5}) == StoreOutcome::older);
  CHECK(s.store(key, item(3, 11), {5}) == StoreOutcome::accepted);
  CHECK(s.find(key, {5})->value()->value == Bytes{3});
  CHECK(s.store(key, item(4, 5), {5}) == StoreOutcome::expired);
  CHECK_FALSE(s.find(key, {11}));
  CHECK(s.size() == 0);
  CHECK(s.bytes() == 0);
}

TEST_CASE("A6.2 H-4 a rejected store changes nothing, not even when the value expires") {
  Storage s;
  s.store(key, item(1, 10), {0});
  CHECK(s.store(key, item(2, 2), {0}) == StoreOutcome::older);
  REQUIRE(s.find(key, {5}));
  CHECK(s.find(key, {9.9})->value()->value == Bytes{1});

  s.store_subkey(dht::key_id("d"), a, item(1, 20), {10});
  CHECK(s.store_subkey(dht::key_id("d"), a, item(2, 12), {10}) == StoreOutcome::older);
  REQUIRE(s.find(dht::key_id("d"), {15}));
  CHECK(s.find(dht::key_id("d"), {15})->dictionary()->find(a)->value == Bytes{1});
}

TEST_CASE("A6.4 subkeys make dictionaries, by Hivemind's four rules") {
  Storage s;
  CHECK(s.store_subkey(key, a, item(1, 10), {0}) == StoreOutcome::accepted);  // no key
  CHECK(s.store_subkey(key, b, item(2, 5), {0}) == StoreOutcome::accepted);   // a dictionary is there
  CHECK(s.store_subkey(key, a, item(3, 10), {0}) == StoreOutcome::older);
  REQUIRE(s.find(key, {0})->dictionary());
  CHECK(s.find(key, {0})->dictionary()->items().size() == 2);
  CHECK(s.find(key, {7})->expiration() == WallTime{10});
  CHECK(s.store(key, item(4, 10), {0}) == StoreOutcome::older);  // a value must outlive the whole dictionary
  CHECK(s.store(key, item(4, 11), {0}) == StoreOutcome::accepted);
  CHECK(s.store_subkey(key, a, item(5, 11), {0}) == StoreOutcome::older);  // a later plain value stays
  CHECK(s.store_subkey(key, a, item(5, 12), {0}) == StoreOutcome::accepted);
  CHECK(s.find(key, {0})->dictionary()->items().size() == 1);
}

TEST_CASE("a subkey that lives longer extends the life of its key") {
  Storage s;
  s.store_subkey(key, a, item(1, 10), {0});
  s.store_subkey(key, b, item(2, 20), {0});
  REQUIRE(s.find(key, {15}));
  CHECK_FALSE(s.find(key, {20}));
}

TEST_CASE("a whole dictionary is accepted only if all of it is") {
  Storage s;
  Dictionary d;
  d.store(a, item(1, 10));
  d.store(b, item(2, 20));
  CHECK(s.store(key, d, {0}) == StoreOutcome::accepted);
  CHECK(s.store(key, d, {0}) == StoreOutcome::older);
  d.store(a, item(3, 30));
  CHECK(s.store(key, d, {0}) == StoreOutcome::older);
  CHECK(s.find(key, {0})->dictionary()->find(a)->value == Bytes{3});
}

TEST_CASE("expirations that never come, or too late, are refused") {
  Storage s(StorageLimits{.lifetime = std::chrono::seconds(100)});
  for (const double never :
       {std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN(), 101.5}) {
    CHECK(s.store(key, item(1, never), {1}) == StoreOutcome::too_long);
    CHECK(s.store_subkey(key, a, item(1, never), {1}) == StoreOutcome::too_long);
  }
  CHECK(s.store(key, item(1, -std::numeric_limits<double>::infinity()), {1}) != StoreOutcome::accepted);
  CHECK(s.size() == 0);
}

TEST_CASE("A4.7 the number of records is bounded: the first to expire leave") {
  Storage s(StorageLimits{.records = 3});
  for (int i = 0; i < 3; ++i) CHECK(s.store(dht::key_id(i), item(1, 10 + i), {0}) == StoreOutcome::accepted);
  CHECK(s.store(dht::key_id(9), item(1, 5), {0}) == StoreOutcome::full);
  CHECK(s.store(dht::key_id(9), item(1, 20), {0}) == StoreOutcome::accepted);
  CHECK(s.size() == 3);
  CHECK_FALSE(s.find(dht::key_id(0), {0}));
  CHECK(s.store(dht::key_id(1), item(2, 12), {0}) == StoreOutcome::accepted);  // a replacement needs no room
  CHECK(s.size() == 3);
}

TEST_CASE("bytes are bounded, of one record and in all") {
  Storage s(StorageLimits{.bytes = 2000, .record_bytes = 1000});
  CHECK(s.store(key, {Bytes(1000), {10}}, {0}) == StoreOutcome::too_large);
  CHECK(s.store(dht::key_id(1), {Bytes(800), {10}}, {0}) == StoreOutcome::accepted);
  CHECK(s.store(dht::key_id(2), {Bytes(800), {20}}, {0}) == StoreOutcome::accepted);
  CHECK(s.store(dht::key_id(3), {Bytes(800), {5}}, {0}) == StoreOutcome::full);
  CHECK(s.size() == 2);
  CHECK(s.store(dht::key_id(3), {Bytes(800), {30}}, {0}) == StoreOutcome::accepted);
  CHECK_FALSE(s.find(dht::key_id(1), {0}));
  CHECK(s.bytes() <= 2000);

  Storage d(StorageLimits{.record_bytes = 1000});
  CHECK(d.store_subkey(key, a, {Bytes(500), {10}}, {0}) == StoreOutcome::accepted);
  CHECK(d.store_subkey(key, b, {Bytes(500), {20}}, {0}) == StoreOutcome::too_large);
  CHECK(d.store_subkey(key, b, {Bytes(100), {20}}, {0}) == StoreOutcome::accepted);
  CHECK(d.store_subkey(key, {0xa1, 'c'}, {Bytes(400), {20}}, {11}) ==
        StoreOutcome::accepted);  // a is over: it gives way
  CHECK(d.find(key, {11})->dictionary()->items().size() == 2);
  CHECK(d.bytes() < 1000);
  CHECK(d.store_subkey(key, a, {Bytes(10), {40}}, {11}) == StoreOutcome::accepted);
  CHECK(d.store_subkey(key, {0xa1, 'd'}, {Bytes(400), {50}}, {39}) == StoreOutcome::accepted);
  CHECK(d.store_subkey(key, a, {Bytes(500), {60}}, {41}) == StoreOutcome::too_large);
  CHECK(d.store_subkey(key, a, {Bytes(200), {60}}, {41}) ==
        StoreOutcome::accepted);  // in the stead of one that is over
  CHECK_FALSE(d.find(key, {60}));
  CHECK(d.bytes() == 0);
}

TEST_CASE("in a full dictionary every item that is over gives way, those that were replaced or came later, too") {
  Storage s(StorageLimits{.record_bytes = 1000});
  const auto put = [&](Bytes subkey, std::size_t bytes, double expiration, double now) {
    return s.store_subkey(key, std::move(subkey), {Bytes(bytes), {expiration}}, {now});
  };
  CHECK(put({1}, 100, 90, 0) == StoreOutcome::accepted);
  CHECK(put({2}, 100, 20, 0) == StoreOutcome::accepted);
  CHECK(put({3}, 100, 10, 0) == StoreOutcome::accepted);
  CHECK(put({3}, 100, 50, 5) == StoreOutcome::accepted);
  CHECK(put({4}, 200, 30, 5) == StoreOutcome::too_large);
  CHECK(put({4}, 200, 30, 11) == StoreOutcome::too_large);  // what was to be over at 10 was replaced
  CHECK(put({4}, 200, 30, 20) == StoreOutcome::accepted);   // instead of 2
  CHECK(put({5}, 200, 60, 29) == StoreOutcome::too_large);
  CHECK(put({5}, 200, 60, 30) == StoreOutcome::accepted);  // instead of 4
  CHECK(put({6}, 100, 60, 49) == StoreOutcome::too_large);
  CHECK(put({6}, 100, 60, 50) == StoreOutcome::accepted);  // instead of 3
  CHECK(s.find(key, {50})->dictionary()->items().size() == 3);
}

TEST_CASE("A3.30 a full cache lets the record go that expires first, not the one read least recently") {
  Storage cache(StorageLimits{.records = 2});
  CHECK(cache.store(dht::key_id(1), item(1, 10), {0}) == StoreOutcome::accepted);
  CHECK(cache.store(dht::key_id(2), item(1, 20), {0}) == StoreOutcome::accepted);
  CHECK(cache.store(dht::key_id(1), item(1, 30), {0}) == StoreOutcome::accepted);
  CHECK(cache.find(dht::key_id(2), {0}));
  CHECK(cache.store(dht::key_id(3), item(1, 25), {0}) == StoreOutcome::accepted);
  CHECK_FALSE(cache.find(dht::key_id(2), {0}));
  CHECK(cache.find(dht::key_id(1), {0}));
}

TEST_CASE("H-37: a peer has a share of items and bytes; when it is used up others can still store") {
  const auto by = [](std::uint64_t source, std::size_t bytes, double expiration) {
    return Item{Bytes(bytes), {expiration}, source};
  };
  Storage s(StorageLimits{.peer_items = 3, .peer_bytes = 2000});
  for (int i = 0; i < 2; ++i) CHECK(s.store(dht::key_id(i), by(7, 1, 100), {0}) == StoreOutcome::accepted);
  CHECK(s.store_subkey(key, a, by(7, 1, 100), {0}) == StoreOutcome::accepted);
  CHECK(s.items_of(7) == 3);
  CHECK(s.store(dht::key_id(8), by(7, 1, 100), {0}) == StoreOutcome::over_share);
  CHECK(s.store_subkey(key, b, by(7, 1, 100), {0}) == StoreOutcome::over_share);
  CHECK(s.size() == 3);
  CHECK(s.store(dht::key_id(0), by(7, 1, 110), {0}) == StoreOutcome::accepted);  // its own again
  CHECK(s.store_subkey(key, a, by(7, 1, 110), {0}) == StoreOutcome::accepted);
  CHECK(s.store(dht::key_id(8), by(9, 1, 100), {0}) == StoreOutcome::accepted);
  CHECK(s.store_subkey(key, b, by(9, 1, 100), {0}) == StoreOutcome::accepted);
  CHECK(s.store(dht::key_id(1), by(9, 1, 120), {0}) == StoreOutcome::accepted);  // takes over, so 7 has room
  CHECK(s.items_of(7) == 2);
  CHECK(s.store(dht::key_id(2), by(7, 1, 100), {0}) == StoreOutcome::accepted);
  CHECK(s.store(dht::key_id(3), by(0, 1, 100), {0}) == StoreOutcome::accepted);  // this node has no share
  CHECK_FALSE(s.find(key, {200}));
  CHECK(s.items_of(7) == 0);
  CHECK(s.items_of(9) == 0);
  CHECK(s.store(key, by(5, 1700, 300), {200}) == StoreOutcome::accepted);
  CHECK(s.store(dht::key_id(1), by(5, 1700, 300), {200}) == StoreOutcome::over_share);
  CHECK(s.store(key, by(5, 1800, 310), {200}) == StoreOutcome::accepted);
}

TEST_CASE("against a plain map: the same content after thousands of random stores") {
  Random random(3);
  Storage s(StorageLimits{.records = 1 << 20, .bytes = std::size_t{1} << 40});
  std::map<DHTID, Item> expected;
  double now = 0;
  for (int i = 0; i < 5000; ++i) {
    now += 0.01;
    const DHTID id = dht::key_id(random.below(200));
    const Item fresh = item(static_cast<std::uint8_t>(i), now + static_cast<double>(random.below(1000)) / 100 - 1);
    std::erase_if(expected, [&](const auto& entry) { return entry.second.expiration <= WallTime{now}; });
    const bool wanted =
        fresh.expiration > WallTime{now} && (!expected.contains(id) || expected.at(id).expiration < fresh.expiration);
    if (wanted) expected[id] = fresh;
    CHECK((s.store(id, fresh, {now}) == StoreOutcome::accepted) == wanted);
  }
  std::size_t seen = 0;
  s.for_each({now}, [&](const DHTID& id, const dht::Record& record) {
    ++seen;
    CHECK(*record.value() == expected.at(id));
  });
  CHECK(seen == expected.size());
  s.erase(expected.begin()->first);
  CHECK_FALSE(s.find(expected.begin()->first, {now}));
}
