#include "skep/codec/msgpack_value.hpp"

#include <doctest/doctest.h>

#include <string>
#include <string_view>

using namespace skep;
using namespace skep::codec::msgpack;

TEST_CASE("C++ values become MessagePack values") {
  CHECK(Value().is_nil());
  CHECK(Value(true).is<bool>());
  CHECK(*Value(std::uint8_t{7}).get_if<std::int64_t>() == 7);
  CHECK(*Value(std::uint64_t{1} << 63).get_if<std::uint64_t>() == std::uint64_t{1} << 63);
  CHECK(Value(std::uint64_t{7}) == Value(7));
  CHECK(*Value(1.5F).get_if<double>() == 1.5);
  CHECK(*Value("x").get_if<std::string>() == "x");
  CHECK(*Value(std::string_view("x")).get_if<std::string>() == "x");
  CHECK(*Value(Bytes{1}).get_if<Bytes>() == Bytes{1});
  CHECK(Value("x") != Value(Bytes{'x'}));
  CHECK(Value(1) != Value(1.0));
  CHECK(Value(Array{1, 2}) != Value(Tuple{{1, 2}}));
}

TEST_CASE("a map is searched by its text keys") {
  const Value map(Map{{"a", 1}, {Bytes{'b'}, 2}, {"c", Value()}});
  REQUIRE(map.find("a") != nullptr);
  CHECK(*map.find("a") == Value(1));
  CHECK(map.find("b") == nullptr);
  CHECK(map.find("c")->is_nil());
  CHECK(Value(5).find("a") == nullptr);
}

TEST_CASE("values are copied and moved whole, deep ones too") {
  const Value deep(Array{Tuple{{Map{{"k", Array{1, "x", Bytes{1}}}}}}, Extension{0x50, {1, 2}}});
  Value copy = deep;
  CHECK(copy == deep);
  const Value moved = std::move(copy);
  CHECK(moved == deep);
  auto changed = moved;
  changed.get_if<Array>()->pop_back();
  CHECK(changed != deep);
}

TEST_CASE("a value may take the place of what it is a part of, and is nil once it was moved from") {
  Value nested(Array{Map{{"k", Tuple{{"long enough to be on the heap", 2}}}}});
  nested = std::move(nested.get_if<Array>()->front());
  REQUIRE(nested.find("k") != nullptr);
  nested = *nested.find("k");
  CHECK(nested == Value(Tuple{{"long enough to be on the heap", 2}}));
  const auto& same = nested;
  nested = same;
  const Value taken = std::move(nested);
  CHECK(nested.is_nil());
  CHECK(taken.get_if<Tuple>()->items.size() == 2);
  for (const Value& each :
       {Value(), Value(false), Value(-1), Value(~std::uint64_t{0}), Value(0.5), Value("t"), Value(Bytes{1}),
        Value(Array{1}), Value(Map{{1, 2}}), Value(Tuple{{1}}), Value(Extension{})}) {
    Value copy(7);
    copy = each;
    CHECK(copy == each);
    Value taken_again = std::move(copy);
    CHECK(copy.is_nil());
    CHECK(taken_again == each);
    copy = std::move(taken_again);
    CHECK(taken_again.is_nil());
    CHECK(copy == each);
    CHECK(copy != taken);
  }
}
