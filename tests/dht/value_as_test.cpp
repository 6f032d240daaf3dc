#include "skep/dht/value_as.hpp"

#include <doctest/doctest.h>

#include <limits>

using namespace skep;
using codec::msgpack::Array;
using codec::msgpack::Map;
using codec::msgpack::Tuple;
using codec::msgpack::Value;
using dht::value_as;

namespace {

struct Progress {
  std::int64_t step = 0;
  double loss = 0;
  std::optional<std::string> note;

  static constexpr auto members() {
    return std::tuple{dht::named("step", &Progress::step), dht::named("loss", &Progress::loss),
                      dht::named("note", &Progress::note)};
  }
};

struct Even {
  int n;
  static std::optional<Even> from_value(const Value& value) {
    const auto n = value_as<int>(value);
    return n && *n % 2 == 0 ? std::optional(Even{*n}) : std::nullopt;
  }
};

using Natural = dht::Checked<std::int64_t, [](std::int64_t n) { return n >= 0; }>;

}  // namespace

TEST_CASE("A9.5 a value is read as exactly its type: no conversions") {
  CHECK(value_as<bool>(true) == true);
  CHECK_FALSE(value_as<bool>(1));
  CHECK(value_as<int>(1) == 1);
  CHECK_FALSE(value_as<int>(1.0));
  CHECK_FALSE(value_as<int>(true));
  CHECK_FALSE(value_as<int>("1"));
  CHECK_FALSE(value_as<int>(std::int64_t{1} << 31));
  CHECK_FALSE(value_as<unsigned>(-1));
  CHECK_FALSE(value_as<std::int64_t>(std::numeric_limits<std::uint64_t>::max()));
  CHECK(value_as<std::uint64_t>(std::numeric_limits<std::uint64_t>::max()) ==
        std::numeric_limits<std::uint64_t>::max());
  CHECK(value_as<double>(1.5) == 1.5);
  CHECK_FALSE(value_as<double>(1));
  CHECK(value_as<std::string>("text") == "text");
  CHECK_FALSE(value_as<std::string>(Bytes{1}));
  CHECK(value_as<Bytes>(Bytes{1}) == Bytes{1});
  CHECK_FALSE(value_as<Bytes>("text"));
  CHECK(value_as<Value>(Array{1}) == Value(Array{1}));
}

TEST_CASE("lists, tuples, maps, options and variants are read item by item") {
  CHECK(value_as<std::vector<int>>(Array{1, 2}) == std::vector{1, 2});
  CHECK_FALSE(value_as<std::vector<int>>(Array{1, 2.0}));
  CHECK_FALSE(value_as<std::vector<int>>(Tuple{{1, 2}}));
  CHECK(value_as<std::tuple<std::string, int>>(Tuple{{"a", 1}}) == std::tuple(std::string("a"), 1));
  CHECK(value_as<std::pair<std::string, int>>(Tuple{{"a", 1}}) == std::pair(std::string("a"), 1));
  CHECK_FALSE(value_as<std::tuple<std::string, int>>(Tuple{{"a"}}));
  CHECK_FALSE(value_as<std::tuple<std::string, int>>(Array{"a", 1}));
  CHECK(value_as<std::map<std::string, int>>(Map{{"a", 1}, {"b", 2}})->size() == 2);
  CHECK_FALSE(value_as<std::map<std::string, int>>(Map{{"a", 1}, {"a", 2}}));
  CHECK_FALSE(value_as<std::map<std::string, int>>(Map{{1, 1}}));
  CHECK(value_as<std::optional<int>>(Value())->has_value() == false);
  CHECK(value_as<std::optional<int>>(3)->value() == 3);
  CHECK_FALSE(value_as<std::optional<int>>("3"));
  using Either = std::variant<int, std::string>;
  CHECK(value_as<Either>("x") == Either("x"));
  CHECK_FALSE(value_as<Either>(1.0));
}

TEST_CASE("structs are maps with exactly their members; types may read themselves or state a condition") {
  const auto progress = value_as<Progress>(Map{{"loss", 0.5}, {"step", 7}});
  REQUIRE(progress);
  CHECK(progress->step == 7);
  CHECK(progress->loss == 0.5);
  CHECK_FALSE(progress->note);
  CHECK(value_as<Progress>(Map{{"loss", 0.5}, {"step", 7}, {"note", "x"}})->note == "x");
  CHECK_FALSE(value_as<Progress>(Map{{"step", 7}}));
  CHECK_FALSE(value_as<Progress>(Map{{"loss", 0.5}, {"step", 7}, {"extra", 1}}));
  CHECK_FALSE(value_as<Progress>(Map{{"loss", 0.5}, {"step", 7}, {"step", 8}}));
  CHECK_FALSE(value_as<Progress>(Map{{"loss", 1}, {"step", 7}}));
  CHECK_FALSE(value_as<Progress>(Array{7, 0.5}));
  CHECK(value_as<Even>(4)->n == 4);
  CHECK_FALSE(value_as<Even>(3));
  CHECK(value_as<Natural>(0)->value == 0);
  CHECK_FALSE(value_as<Natural>(-666));
}
