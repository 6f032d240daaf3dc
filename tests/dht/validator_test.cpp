#include "skep/dht/validator.hpp"

#include <doctest/doctest.h>

using namespace skep;

namespace {
struct Late : dht::AcceptAll {
  static constexpr int priority = 10;
  void check_key(BytesView key) const {
    if (key.empty()) throw 1;
  }
};
}  // namespace

TEST_CASE("AcceptAll lets everything through unchanged") {
  const Bytes value{1, 2, 3};
  dht::AcceptAll all;
  const dht::RecordView record{dht::key_id("k"), {}, value, {10}};
  CHECK(all.validate(record));
  CHECK(all.sign(record) == value);
  CHECK(all.strip(record, value) == value);
}

TEST_CASE("A8.2 a priority and a look at keys are optional") {
  CHECK(dht::validator_priority<dht::AcceptAll> == 0);
  CHECK(dht::validator_priority<Late> == 10);
  dht::check_key(dht::AcceptAll(), {});
  CHECK_THROWS_AS(dht::check_key(Late(), {}), int);
}
