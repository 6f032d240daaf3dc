#include "skep/moe/stand_ins.hpp"

#include <string>
#include <vector>

#include "support/experts.hpp"
// doctest comes last
#include <doctest/doctest.h>

using namespace skep;
using moe::ExpertChoice;
using moe::StandIns;
using test::peer;
using Indices = std::vector<std::uint32_t>;
using Numbers = std::vector<std::size_t>;

namespace {

/// A choice from "row: uid uid ..." lists; earlier ones have the higher scores.
ExpertChoice choice_of(const std::vector<std::vector<std::string>>& rows) {
  ExpertChoice choice;
  choice.offsets.push_back(0);
  for (const auto& row : rows) {
    moe::Score score = 10;
    for (const auto& uid : row) {
      auto found = std::ranges::find(choice.experts, uid, &moe::ExpertInfo::uid);
      choice.chosen.push_back(static_cast<std::uint32_t>(found - choice.experts.begin()));
      if (found == choice.experts.end()) choice.experts.push_back({uid, peer(1)});
      choice.scores.push_back(score--);
    }
    choice.offsets.push_back(static_cast<std::uint32_t>(choice.chosen.size()));
  }
  return choice;
}
std::vector<std::string> uids(const ExpertChoice& choice, std::size_t row) {
  std::vector<std::string> names;
  for (const std::uint32_t expert : choice.row(row)) names.push_back(choice.experts[expert].uid);
  return names;
}
using Uids = std::vector<std::string>;

}  // namespace

TEST_CASE("H-28, B5.6: the rows of a failed expert go to the next best that they have not asked, in one call each") {
  const ExpertChoice choice = choice_of({{"e.0", "e.1"}, {"e.1", "e.2"}, {"e.0", "e.2"}});
  StandIns stand_ins(choice, moe::plan_dispatch(choice));
  const Numbers failed{0};
  const auto rows = stand_ins.lose(failed);
  CHECK(rows == Indices{0, 2});
  const auto calls = stand_ins.take_over(rows, choice_of({{"e.1", "e.2", "e.3"}, {"e.2", "e.3", "e.1"}}));
  REQUIRE(calls.size() == 2);
  CHECK(calls[0].expert.uid == "e.2");
  CHECK(calls[0].rows == Indices{0});  // it has asked e.1
  CHECK(calls[1].expert.uid == "e.3");
  CHECK(calls[1].rows == Indices{2});

  // the stand-in of row 2 fails, too, and nobody is left
  const Numbers then{4};
  const auto again = stand_ins.lose(then);
  CHECK(again == Indices{2});
  CHECK(stand_ins.take_over(again, choice_of({{"e.2", "e.3", "e.0"}})).empty());

  const auto settled = stand_ins.settle({false, true, true, true, false});
  CHECK(uids(settled.choice, 0) == Uids{"e.1", "e.2"});  // equally good, so by uid
  CHECK(uids(settled.choice, 1) == Uids{"e.1", "e.2"});
  CHECK(uids(settled.choice, 2) == Uids{"e.2"});
  CHECK(settled.choice.experts.size() == 2);
  CHECK(settled.answers == Indices{0, 4, 1, 2, 3});  // e.1 of rows 0 and 1, e.2 of rows 1 and 2, e.2 of row 0
}

TEST_CASE("a late call that answers after all competes with its stand-in, and a row takes no more than it asked for") {
  const ExpertChoice choice = choice_of({{"e.0"}, {"e.0"}});
  StandIns stand_ins(choice, moe::plan_dispatch(choice));
  const Numbers late{0};
  auto rows = stand_ins.lose(late);
  CHECK(stand_ins.lose(late).empty());  // it fails after it was late: nothing new
  ExpertChoice found = choice_of({{"e.1"}, {}});
  found.scores = {3};
  CHECK(stand_ins.take_over(rows, found).size() == 1);
  CHECK(uids(stand_ins.settle({true, true}).choice, 0) == Uids{"e.0"});  // the better one
  CHECK(uids(stand_ins.settle({false, true}).choice, 0) == Uids{"e.1"});
  CHECK(uids(stand_ins.settle({false, true}).choice, 1).empty());
  CHECK(stand_ins.settle({false, false}).choice.rows() == 2);
}

TEST_CASE("H-28 the rows of a lost call go to another server of its expert, and one answer of both counts") {
  const ExpertChoice choice = choice_of({{"e.0", "e.1"}, {"e.1"}});
  StandIns stand_ins(choice, moe::plan_dispatch(choice));
  const Numbers late{1};  // e.1
  const auto rows = stand_ins.lose(late);
  CHECK(rows == Indices{0, 1});
  CHECK(stand_ins.lacks(0));
  const auto call = stand_ins.repeat(1, {"e.1", peer(2)});
  CHECK(call.expert == moe::ExpertInfo{"e.1", peer(2)});
  CHECK(call.rows == Indices{0, 1});
  CHECK(call.repeats == 1);
  CHECK_FALSE(stand_ins.lacks(0));
  CHECK(stand_ins.take_over(rows, choice_of({{"e.2"}, {"e.2"}})).empty());

  const auto one = stand_ins.settle({true, false, true});
  CHECK(uids(one.choice, 0) == Uids{"e.0", "e.1"});
  REQUIRE(uids(one.choice, 1) == Uids{"e.1"});
  CHECK(one.choice.experts[one.choice.row(1)[0]].peer_id == peer(2));
  const auto both = stand_ins.settle({true, true, true});
  CHECK(uids(both.choice, 0) == Uids{"e.0", "e.1"});
  CHECK(uids(both.choice, 1) == Uids{"e.1"});
}
