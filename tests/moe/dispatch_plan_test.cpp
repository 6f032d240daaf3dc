#include "skep/moe/dispatch_plan.hpp"

#include "support/experts.hpp"
// doctest comes last
#include <doctest/doctest.h>

using namespace skep;
using moe::KMinCounter;
using test::peer;
using Indices = std::vector<std::uint32_t>;

TEST_CASE("all rows for one expert lie side by side, the experts of one server next to each other") {
  moe::ExpertChoice choice;
  choice.experts = {{"e.0", peer(2)}, {"e.1", peer(1)}, {"e.2", peer(2)}, {"e.3", peer(1)}};
  choice.chosen = {0, 1, /**/ 2, 0, /**/ /**/ 3, 2};
  choice.offsets = {0, 2, 4, 4, 6};
  const moe::DispatchPlan plan = moe::plan_dispatch(choice);
  CHECK(plan.experts == Indices{1, 3, 0, 2});
  CHECK(plan.offsets == Indices{0, 1, 2, 4, 6});
  CHECK(plan.rows == Indices{0, 3, 0, 1, 1, 3});
  CHECK(plan.places == Indices{2, 0, 4, 3, 1, 5});
  CHECK(Indices(plan.rows_of(2).begin(), plan.rows_of(2).end()) == Indices{0, 1});
  for (std::size_t row = 0; row < choice.rows(); ++row) {
    for (auto entry = choice.offsets[row]; entry < choice.offsets[row + 1]; ++entry) {
      CHECK(plan.rows[plan.places[entry]] == row);
    }
  }
}

TEST_CASE("nothing chosen, nothing planned") {
  moe::ExpertChoice choice;
  choice.offsets = {0, 0, 0};
  const moe::DispatchPlan plan = moe::plan_dispatch(choice);
  CHECK(plan.calls() == 0);
  CHECK(plan.rows.empty());
}

TEST_CASE("k_min is counted for each row") {
  KMinCounter counter({{0, 1}, {0, 1}, {0}, {1}}, 2);
  CHECK_FALSE(counter.all_settled());
  CHECK_FALSE(counter.end(0, true));
  CHECK_FALSE(counter.end(2, true));  // row 0 has two
  CHECK_FALSE(counter.all_settled());
  CHECK(counter.end(3, true));  // and now row 1
  CHECK(counter.all_settled());
  CHECK_FALSE(counter.end(1, true));
  CHECK(counter.answers(0) == 3);
  CHECK(counter.answers(1) == 3);
  CHECK(counter.answers(7) == 0);
}

TEST_CASE("a row that cannot reach k_min any more is settled") {
  KMinCounter counter({{0}, {0}, {1}, {1}}, 2);
  CHECK_FALSE(counter.end(0, false));
  CHECK_FALSE(counter.end(2, true));
  CHECK(counter.end(3, true));
  KMinCounter hopeless({{0}}, 2);
  CHECK(hopeless.all_settled());
}

TEST_CASE("with k_min 0 every row is settled from the start") {
  KMinCounter counter({{0}, {1}}, 0);
  CHECK(counter.all_settled());
  CHECK_FALSE(counter.end(0, false));
}

TEST_CASE("a call in place of another gives its rows new hope, an answer for each first call is all they want") {
  KMinCounter counter({{0}, {0, 1}}, 2);
  CHECK_FALSE(counter.all_settled());  // row 1 never had a chance
  CHECK(counter.end(0, false));
  counter.add({0});
  CHECK_FALSE(counter.all_settled());
  CHECK_FALSE(counter.end(1, true));
  CHECK_FALSE(counter.all_full());
  CHECK(counter.end(2, true));
  CHECK(counter.all_full());
  counter.add({1});  // more than it wants, but it may reach k_min
  CHECK(counter.all_full());
  CHECK(counter.end(3, true));
  CHECK(counter.all_full());
  CHECK(KMinCounter({}, 1).all_full());
}

TEST_CASE("a call without rows is awaited") {
  KMinCounter counter({{}, {0}}, 1);
  CHECK_FALSE(counter.end(1, true));
  CHECK_FALSE(counter.all_full());
  CHECK(counter.end(0, false));
  CHECK(counter.all_full());
}

TEST_CASE("of a call and those that repeat it one answer counts, and there is hope while one of them is under way") {
  KMinCounter counter({{0, 1}, {0}}, 2);
  SUBCASE("both answer") {
    counter.add({0, 1}, 0);
    CHECK_FALSE(counter.end(0, true));
    CHECK_FALSE(counter.end(2, true));
    CHECK(counter.answers(0) == 1);
    CHECK(counter.answers(1) == 1);
    CHECK_FALSE(counter.all_settled());
    CHECK(counter.end(1, true));
    CHECK(counter.all_full());
  }
  SUBCASE("one answers, whichever it is") {
    counter.add({0, 1}, 0);
    counter.add({0, 1}, 2);  // a repetition of a repetition
    CHECK_FALSE(counter.end(1, true));
    CHECK_FALSE(counter.end(2, false));
    CHECK_FALSE(counter.end(0, false));
    CHECK_FALSE(counter.all_settled());
    CHECK(counter.end(3, true));
    CHECK(counter.answers(0) == 2);
    CHECK(counter.all_full());
  }
  SUBCASE("it is repeated after it has failed") {
    CHECK(counter.end(0, false));
    counter.add({0, 1}, 0);
    CHECK_FALSE(counter.all_settled());
    CHECK(counter.end(2, false));
    CHECK(counter.answers(0) == 0);
    CHECK_FALSE(counter.all_full());
  }
  SUBCASE("it is repeated after it has answered late") {
    CHECK_FALSE(counter.end(0, true));
    counter.add({0, 1}, 0);
    CHECK_FALSE(counter.end(2, true));
    CHECK(counter.answers(0) == 1);
    CHECK(counter.end(1, false));
  }
}
