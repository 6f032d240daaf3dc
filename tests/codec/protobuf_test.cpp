#include "skep/codec/protobuf.hpp"

#include <doctest/doctest.h>

#include <limits>

#include "support/hostile.hpp"
#include "support/vectors.hpp"

using namespace skep;
using namespace skep::codec;
using skep_test::unhex;

namespace {

template <class Write>
std::string hex_of(Write write) {
  Bytes out;
  MessageWriter writer(out);
  write(writer);
  return to_hex(out);
}

Result<void> visit_nothing(FieldReader& field) {
  field.skip();
  return {};
}

}  // namespace

TEST_CASE("fields as protobuf writes them") {
  using W = MessageWriter;
  CHECK(hex_of([](W& w) { w.bytes(1, Bytes{1, 2}); }) == "0a020102");
  CHECK(hex_of([](W& w) { w.bytes(1, {}); }) == "0a00");
  CHECK(hex_of([](W& w) { w.bytes_unless_default(1, {}); }).empty());
  CHECK(hex_of([](W& w) { w.text(16, "a"); }) == "82010161");
  CHECK(hex_of([](W& w) { w.varint(1, 0); }) == "0800");
  CHECK(hex_of([](W& w) { w.varint_unless_default(1, 0); }).empty());
  CHECK(hex_of([](W& w) { w.varint_unless_default(1, 300); }) == "08ac02");
  CHECK(hex_of([](W& w) { w.real_unless_default(3, 1.5); }) == "19000000000000f83f");
  CHECK(hex_of([](W& w) { w.real_unless_default(3, 0.0); }).empty());
  CHECK(hex_of([](W& w) { w.real_unless_default(3, -0.0); }) == "190000000000000080");
  CHECK(hex_of([](W& w) { w.packed_reals(5, std::vector<double>{1.5}); }) == "2a08000000000000f83f");
  CHECK(hex_of([](W& w) { w.packed_varints(6, std::vector<bool>{false, true}); }) == "32020001");
  CHECK(hex_of([](W& w) { w.packed_varints(6, std::vector<bool>{}); }).empty());
}

TEST_CASE("a nested message is written even when it is empty") {
  using W = MessageWriter;
  CHECK(hex_of([](W& w) { w.message(2, [](W&) {}); }) == "1200");
  CHECK(hex_of([](W& w) { w.message(2, [](W& inner) { inner.message(3, [](W&) {}); }); }) == "12021a00");
  const Bytes large(300, 7);
  const std::string hex = hex_of([&](W& w) {
    w.message(2, [&](W& inner) { inner.bytes(1, large); });
    w.varint(1, 1);
  });
  CHECK(hex == "12af020aac02" + to_hex(large) + "0801");
}

TEST_CASE("a head and the contents that follow it are a field") {
  Bytes by_hand;
  append_field_head(by_hand, 3, 200);
  CHECK(to_hex(by_hand) == "1ac801");
  append(by_hand, Bytes(200, 1));
  CHECK(by_hand.size() == field_size(3, 200));
  CHECK(to_hex(by_hand) == hex_of([](MessageWriter& w) { w.bytes(3, Bytes(200, 1)); }));
  CHECK(field_size(16, 0) == 3);
}

TEST_CASE("unknown fields of every kind are skipped") {
  // 100: varint, 101: fixed64, 102: bytes, 103: fixed32, then field 1
  const Bytes bytes = unhex("a006ac02 a9060102030405060708 b20602ffff bd0601020304 0a0161");
  std::string text;
  const auto read = read_fields(bytes, [&](FieldReader& field) -> Result<void> {
    if (field.tag_and_type() == bytes_field(1)) {
      text = text_of(field);
    } else {
      field.skip();
    }
    return {};
  });
  CHECK(read);
  CHECK(text == "a");
}

TEST_CASE("malformed fields are reported, not thrown") {
  for (const char* hex : {"0a", "0a05", "0a0561", "08", "0880", "09010203", "0d01", "00", "0001", "0b", "0c", "0f",
                          "08ffffffffffffffffffff01", "c0a609", "ffffffffffffffffffffff"}) {
    CAPTURE(hex);
    CHECK(read_fields(unhex(hex), visit_nothing).error() == errc::malformed);
  }
}

TEST_CASE("a visitor's failure ends the reading") {
  int seen = 0;
  const auto read = read_fields(unhex("08010801"), [&](FieldReader& field) -> Result<void> {
    field.skip();
    ++seen;
    return errc::limit_exceeded;
  });
  CHECK(read.error() == errc::limit_exceeded);
  CHECK(seen == 1);
}

TEST_CASE("booleans are read whole, and not beyond the end") {
  const auto read_bool = [](const char* hex) {
    bool value = false;
    const auto read = read_fields(unhex(hex), [&](FieldReader& field) -> Result<void> {
      value = bool_of(field);
      return {};
    });
    return std::pair(read.has_value(), value);
  };
  CHECK(read_bool("0801") == std::pair(true, true));
  CHECK(read_bool("0800") == std::pair(true, false));
  CHECK(read_bool("088000") == std::pair(true, false));
  CHECK(read_bool("088002") == std::pair(true, true));
  CHECK(read_bool("08").first == false);
}

TEST_CASE("lists end at their limit") {
  std::vector<int> list;
  CHECK(push_bounded(list, 2, 1));
  CHECK(push_bounded(list, 2, 2));
  CHECK(push_bounded(list, 2, 3).error() == errc::limit_exceeded);
  CHECK(list == std::vector<int>{1, 2});

  const auto read_reals = [](const char* hex, std::size_t limit) {
    std::vector<double> reals{0.5};
    const auto read = read_fields(unhex(hex), [&](FieldReader& f) { return read_packed_reals(f, reals, limit); });
    return std::pair(read.error(), reals.size());
  };
  CHECK(read_reals("0a08000000000000f83f", 2) == std::pair(std::error_code(), std::size_t{2}));
  CHECK(read_reals("0a08000000000000f83f", 1) == std::pair(make_error_code(errc::limit_exceeded), std::size_t{1}));
  CHECK(read_reals("0a00", 0).first == std::error_code());
  CHECK(read_reals("0a07000000000000f8", 9).first == errc::malformed);

  const auto read_bools = [](const char* hex, std::size_t limit) {
    Bools bools;
    const auto read = read_fields(unhex(hex), [&](FieldReader& f) { return read_packed_bools(f, bools, limit); });
    return std::pair(read.error(), bools.size());
  };
  CHECK(read_bools("0a03000180", 9).first == errc::malformed);
  CHECK(read_bools("0a03000101", 3) == std::pair(std::error_code(), std::size_t{3}));
  CHECK(read_bools("0a03000101", 2).first == errc::limit_exceeded);
}

TEST_CASE("hostile bytes are read or refused") {
  const Bytes valid = unhex("a006ac02 a9060102030405060708 b20602ffff bd0601020304 0a0161");
  skep_test::for_hostile_bytes(valid, [](BytesView bytes) { (void)read_fields(bytes, visit_nothing); }, 3000);
}
