#include "skep/moe/expert_choice.hpp"

#include <doctest/doctest.h>

using skep::moe::ExpertChoice;

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
