#include "skep/core/result.hpp"

#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <utility>

#include "skep/core/error.hpp"

using namespace skep;

namespace {

Result<int> half(int n) {
  if (n % 2 != 0) return errc::invalid_argument;
  return n / 2;
}

Result<void> even(int n) {
  if (n % 2 != 0) return errc::invalid_argument;
  return {};
}

}  // namespace

TEST_CASE("a result holds a value or the reason why there is none") {
  const auto good = half(6);
  CHECK(good.has_value());
  CHECK(bool(good));
  CHECK(*good == 3);
  CHECK_FALSE(good.error());

  const auto bad = half(5);
  CHECK_FALSE(bad.has_value());
  CHECK_FALSE(bool(bad));
  CHECK(bad.error() == errc::invalid_argument);
}

TEST_CASE("a result without a value says whether the step was made") {
  CHECK(even(2));
  CHECK_FALSE(even(2).error());
  CHECK_FALSE(even(3));
  CHECK(even(3).error() == errc::invalid_argument);
  CHECK_FALSE(Result<void>(std::make_error_code(std::errc::timed_out)));
}

TEST_CASE("the value can be changed and moved out") {
  Result<std::string> text = std::string("abc");
  text->push_back('d');
  CHECK(*text == "abcd");
  const std::string taken = *std::move(text);
  CHECK(taken == "abcd");

  Result<std::unique_ptr<int>> owner = std::make_unique<int>(7);
  const std::unique_ptr<int> moved = *std::move(owner);
  CHECK(*moved == 7);
}

TEST_CASE("value_or replaces a missing value") {
  CHECK(half(6).value_or(0) == 3);
  CHECK(half(5).value_or(0) == 0);
}

TEST_CASE("codes of any category fit") {
  const Result<int> result = std::make_error_code(std::errc::timed_out);
  CHECK(result.error() == std::errc::timed_out);
}

TEST_CASE("a result is copied and takes another one's place, whether they hold a value or an error") {
  const Result<std::string> text = std::string("a text that is too long for the object itself");
  const Result<std::string> none = errc::not_found;
  for (const auto& first : {text, none}) {
    for (const auto& second : {text, none}) {
      Result<std::string> result = first;
      result = second;
      CHECK(result.has_value() == second.has_value());
      CHECK(result.error() == second.error());
      if (second) CHECK(*result == *second);
      result = Result<std::string>(std::move(result));
      CHECK(result.has_value() == second.has_value());
    }
  }
}
