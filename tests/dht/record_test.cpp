#include "skep/dht/record.hpp"

#include <doctest/doctest.h>

using namespace skep;
using dht::Dictionary;
using dht::Item;
using dht::Record;

namespace {
Dictionary dictionary(std::initializer_list<std::pair<Bytes, Item>> items) {
  Dictionary out;
  for (const auto& [subkey, item] : items) out.store(subkey, item);
  return out;
}
}  // namespace

TEST_CASE("A3.15 of regular values the later expiration wins") {
  Record mine(Item{{1}, {10}});
  mine.merge(Record(Item{{2}, {9}}));
  CHECK(mine.value()->value == Bytes{1});
  mine.merge(Record(Item{{3}, {11}}));
  CHECK(mine.value()->value == Bytes{3});
}

TEST_CASE("A3.15 dictionaries are joined subkey by subkey") {
  Record mine(dictionary({{{1}, {{1}, {10}}}, {{2}, {{1}, {10}}}}));
  mine.merge(Record(dictionary({{{2}, {{2}, {20}}}, {{3}, {{2}, {5}}}})));
  CHECK(*mine.dictionary() == dictionary({{{1}, {{1}, {10}}}, {{2}, {{2}, {20}}}, {{3}, {{2}, {5}}}}));
  CHECK(mine.expiration() == WallTime{20});
}

TEST_CASE("A3.15 between a regular value and a dictionary the later expiration wins outright") {
  Record mine(Item{{1}, {10}});
  mine.merge(Record(dictionary({{{1}, {{1}, {9}}}})));
  CHECK(mine.value());
  mine.merge(Record(dictionary({{{1}, {{1}, {11}}}})));
  CHECK(mine.dictionary());
}
