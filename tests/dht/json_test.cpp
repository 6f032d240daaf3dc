#include "skep/dht/json.hpp"

#include <limits>

#include <doctest/doctest.h>

using namespace skep;
using codec::msgpack::Array;
using codec::msgpack::Map;
using codec::msgpack::Tuple;
using codec::msgpack::Value;
using dht::to_json;
using dht::to_value;
using nlohmann::json;

TEST_CASE("JSON and values agree both ways") {
  for (const json& value :
       {json(nullptr), json(true), json(-5), json(std::numeric_limits<std::uint64_t>::max()), json(1.5), json("text"),
        json::binary({1, 2, 3}), json::array({1, "a", nullptr}), json({{"a", 1}, {"b", {{"c", 2.5}}}})}) {
    CHECK(to_json(to_value(value)) == value);
  }
  CHECK(to_value(json(5)) == Value(5));
  CHECK(to_value(json(5u)) == Value(5));
  CHECK(to_value(json(5.0)) == Value(5.0));
}

TEST_CASE("what JSON has no word for becomes the nearest") {
  CHECK(to_json(Value(Tuple{{"uid", 1}})) == json::array({"uid", 1}));
  CHECK(to_json(Value(Map{{7, "x"}, {Tuple{{1, 2}}, "y"}})) == json({{"7", "x"}, {"[1,2]", "y"}}));
  CHECK(to_json(Value(codec::msgpack::Extension{0x51, {1}})) == json::binary({1}, 0x51));
}

TEST_CASE("nesting is limited before others would refuse it") {
  json deep = 1;
  for (int i = 0; i < 63; ++i) deep = json::array({deep});
  CHECK_NOTHROW((void)to_value(deep));
  for (int i = 0; i < 10; ++i) deep = json::array({deep});
  CHECK_THROWS_AS((void)to_value(deep), Error);
}

TEST_CASE("a dictionary is an object of its values, with exact subkeys beside it") {
  const dht::Found found{{}, {20}, true, {{1, "one", {10}}, {"s", Tuple{{1, 2}}, {20}}}};
  const auto out = to_json(found);
  CHECK(out.is_dictionary);
  CHECK(out.value == json({{"1", "one"}, {"s", {1, 2}}}));
  CHECK(out.items.size() == 2);
  CHECK(out.items[0].subkey == json(1));
  CHECK(out.items[0].expiration == WallTime{10});
  CHECK_FALSE(to_json(std::optional<dht::Found>()));
  const auto item = dht::to_store_item({"k", 1, {5}, 0});
  CHECK(item.subkey == Value(0));
}
