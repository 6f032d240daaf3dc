#include "skep/dht/predicate_validator.hpp"

#include <doctest/doctest.h>

using namespace skep;
using dht::RecordView;

TEST_CASE("any condition on records is a validator") {
  dht::PredicateValidator small([](const RecordView& record) { return record.value.size() <= 2; });
  static_assert(dht::RecordValidator<decltype(small)>);
  const Bytes value{1, 2};
  const Bytes longer{1, 2, 3};
  CHECK(small.validate({dht::key_id("k"), {}, value, {10}}));
  CHECK_FALSE(small.validate({dht::key_id("k"), {}, longer, {10}}));
  CHECK(small.sign({dht::key_id("k"), {}, value, {10}}) == value);
}
