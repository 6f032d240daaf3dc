#include "skep/dht/validator.hpp"

#include <doctest/doctest.h>

using namespace skep;

TEST_CASE("AcceptAll lets everything through unchanged") {
  const Bytes value{1, 2, 3};
  dht::AcceptAll all;
  const dht::RecordView record{dht::key_id("k"), {}, value, {10}};
  CHECK(all.validate(record));
  CHECK(all.sign(record) == value);
  CHECK(all.strip(record, value) == value);
}
