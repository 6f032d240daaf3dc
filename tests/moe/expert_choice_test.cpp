#include "skep/moe/expert_choice.hpp"

#include <limits>

#include <doctest/doctest.h>

using skep::moe::ExpertChoice;
using skep::moe::Score;

TEST_CASE("the experts of a row, best first; a row may have none") {
  ExpertChoice choice;
  CHECK(choice.rows() == 0);
  choice.chosen = {2, 0, 1};
  choice.offsets = {0, 2, 2, 3};
  REQUIRE(choice.rows() == 3);
  CHECK(std::vector(choice.row(0).begin(), choice.row(0).end()) == std::vector<std::uint32_t>{2, 0});
  CHECK(choice.row(1).empty());
  CHECK(choice.row(2)[0] == 1);
}

TEST_CASE("experts with a score of minus infinity are taken out, and those that nobody needs any more") {
  const Score never = -std::numeric_limits<Score>::infinity();
  ExpertChoice choice;
  choice.experts = {{"a.0", {}}, {"a.1", {}}, {"a.2", {}}};
  choice.chosen = {0, 1, 2, 1, 0};
  choice.scores = {never, 1, 2, 3, never};
  choice.offsets = {0, 2, 4, 5};
  choice.drop_impossible();
  REQUIRE(choice.experts.size() == 2);
  CHECK(choice.experts[0].uid == "a.1");
  CHECK(choice.experts[1].uid == "a.2");
  CHECK(choice.chosen == std::vector<std::uint32_t>{0, 1, 0});
  CHECK(choice.scores == std::vector<Score>{1, 2, 3});
  CHECK(choice.offsets == std::vector<std::uint32_t>{0, 1, 3, 3});
}
