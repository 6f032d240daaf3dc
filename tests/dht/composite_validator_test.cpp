#include "skep/dht/composite_validator.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace skep;
using dht::CompositeValidator;
using dht::LeavesValues;
using dht::RecordView;

namespace {

std::vector<std::string>& calls() {
  static std::vector<std::string> list;
  return list;
}

/// Seals values with a letter.
template <char letter, int rank>
struct Seal {
  static constexpr int priority = rank;
  bool validate(const RecordView& record) const {
    calls().push_back(std::string("validate ") + letter + " " + std::string(as_text(record.value)));
    return !record.value.empty() && record.value.back() == letter;
  }
  Bytes sign(const RecordView& record) const {
    Bytes out = to_bytes(record.value);
    out.push_back(letter);
    return out;
  }
  Bytes strip(const RecordView& record, Bytes value) const {
    CHECK(to_bytes(record.value) == value);
    value.pop_back();
    return value;
  }
};
template <char letter, int rank>
Seal<letter, rank> join_validators(Seal<letter, rank> first, const Seal<letter, rank>&) {
  return first;
}

struct Looks : LeavesValues {
  bool validate(const RecordView& record) const {
    calls().push_back("looks at " + std::string(as_text(record.value)));
    return record.value.size() < 5;
  }
  void check_key(BytesView key) const {
    if (key.size() > 3) throw std::string("long key");
  }
};

const dht::DHTID key = dht::key_id("k");
RecordView record_of(const Bytes& value) { return {key, {}, value, {10}}; }

}  // namespace

TEST_CASE("A8.3 values are signed in rising priority, validated and stripped in falling, each sees what is left") {
  auto all = dht::compose_validators(Seal<'b', 10>(), Looks(), Seal<'a', 5>(), Seal<'c', 10>());
  static_assert(dht::RecordValidator<decltype(all)>);
  const Bytes value = to_bytes("xy");
  const Bytes sealed = all.sign(record_of(value));
  CHECK(as_text(sealed) == "xyabc");
  calls().clear();
  CHECK(all.validate(record_of(sealed)));
  CHECK(calls() == std::vector<std::string>{"validate c xyabc", "validate b xyab", "validate a xya", "looks at xy"});
  CHECK(all.strip(record_of(sealed), sealed) == value);

  calls().clear();
  CHECK_FALSE(all.validate(record_of(to_bytes("xyaxc"))));
  CHECK(calls() == std::vector<std::string>{"validate c xyaxc", "validate b xyax"});  // the first "no" ends it
  CHECK_FALSE(all.validate(record_of(to_bytes("xyzuvabc"))));
  CHECK_THROWS_WITH(all.check_key(to_bytes("long")), "long key");
}

TEST_CASE("A8.3 validators of a kind become one where their kind says so") {
  auto all = dht::compose_validators(Seal<'a', 5>(), Looks(), Seal<'a', 5>(), Seal<'b', 5>());
  static_assert(std::same_as<decltype(all), CompositeValidator<Seal<'a', 5>, Looks, Seal<'b', 5>>>);
  CHECK(as_text(all.sign(record_of({}))) == "ab");
  CHECK(as_text(CompositeValidator<>().sign(record_of(to_bytes("x")))) == "x");
  CHECK(CompositeValidator<>().validate(record_of({})));
}
