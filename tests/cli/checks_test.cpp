#include "skep/cli/checks.hpp"

#include <doctest/doctest.h>

using namespace skep::cli;

TEST_CASE("whole numbers") {
  const auto check = whole_number(1);
  for (const char* good : {"1", "16384", "2147483647"}) CHECK(check(good).empty());
  for (const char* bad : {"", "0", "-1", "1.5", "a", "1a", " 1", "2147483648", "99999999999999999999"}) {
    CAPTURE(bad);
    CHECK_FALSE(check(bad).empty());
  }
  CHECK(check("x") == "\"x\" is not a whole number of 1 or more");
  for (const std::string large : {"2147483648", "99999999999999999999"}) {
    CHECK(check(large) == "\"" + large + "\" is more than 2147483647");
  }
}

TEST_CASE("numbers above zero") {
  const auto check = positive_number();
  for (const char* good : {"1", "0.5", "1e-3", "30.0"}) CHECK(check(good).empty());
  for (const char* bad : {"", "0", "-1", "nan", "inf", "a", "1s", "1e300"}) {
    CAPTURE(bad);
    CHECK_FALSE(check(bad).empty());
  }
  CHECK(check("0") == "\"0\" is not a number above 0");
  CHECK(check("1e300") == "\"1e300\" is more than 1000000000");
}

TEST_CASE("true or false") {
  const auto check = truth_value();
  for (const char* good : {"true", "Yes", "ON", "1", "False", "no", "off", "0"}) CHECK(check(good).empty());
  for (const char* bad : {"", "2", "t", "maybe", "true "}) {
    CAPTURE(bad);
    CHECK_FALSE(check(bad).empty());
  }
  CHECK(check("Maybe") == "\"Maybe\" is neither true nor false");
}

TEST_CASE("one of a few words") {
  const auto check = one_of({"adam", "sgd"});
  CHECK(check("sgd").empty());
  CHECK(check("lion") == "\"lion\" is not one of adam, sgd");
}

TEST_CASE("files and folders") {
  CHECK(existing_folder()("/tmp").empty());
  CHECK(existing_folder()("/nonexistent/folder") == "there is no folder \"/nonexistent/folder\"; make it first");
  CHECK(readable_file()("/proc/self/status").empty());
  CHECK(readable_file()("/nonexistent/file") == "there is no file \"/nonexistent/file\"");
  CHECK(readable_file()("/tmp") == "there is no file \"/tmp\"");
}
