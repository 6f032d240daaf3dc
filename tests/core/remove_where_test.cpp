#include "skep/core/remove_where.hpp"

#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <vector>

using namespace skep;

TEST_CASE("remove_where removes what the condition names, says how many, and keeps the order of the rest") {
  std::vector<std::string> words{"a", "bb", "c", "dd", "e"};
  CHECK(remove_where(words, [](const std::string& word) { return word.size() == 2; }) == 2);
  CHECK(words == std::vector<std::string>{"a", "c", "e"});
  CHECK(remove_where(words, [](const std::string&) { return false; }) == 0);
  CHECK(words == std::vector<std::string>{"a", "c", "e"});
  CHECK(remove_where(words, [](const std::string&) { return true; }) == 3);
  CHECK(words.empty());
  CHECK(remove_where(words, [](const std::string&) { return true; }) == 0);
}

TEST_CASE("remove_where takes elements that cannot be copied") {
  std::vector<std::unique_ptr<int>> owned;
  for (int i = 0; i < 4; ++i) owned.push_back(std::make_unique<int>(i));
  CHECK(remove_where(owned, [](const auto& one) { return *one % 2 == 0; }) == 2);
  REQUIRE(owned.size() == 2);
  CHECK(*owned[0] == 1);
  CHECK(*owned[1] == 3);
}
