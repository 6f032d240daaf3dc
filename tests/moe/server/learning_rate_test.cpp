#include "skep/moe/server/learning_rate.hpp"

#include <doctest/doctest.h>

using skep::moe::LearningRateSchedule;
using Kind = LearningRateSchedule::Kind;

TEST_CASE("C9.6 linear rises over the warm-up and falls to nothing at the last step, never below") {
  constexpr LearningRateSchedule linear{Kind::linear, 4, 12};
  const double expected[] = {0, 0.25, 0.5, 0.75, 1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125, 0, 0, 0};
  for (int step = 0; step < 15; ++step) CHECK(linear.factor(step) == doctest::Approx(expected[step]));
  CHECK(LearningRateSchedule{Kind::linear, 0, 2}.factor(0) == 1);
  CHECK(LearningRateSchedule{Kind::linear, 2, 2}.factor(2) == 0);
  CHECK(LearningRateSchedule{}.factor(1'000'000) == 1);
}

TEST_CASE("D1 schedules by name, and what does not fit is a sentence") {
  CHECK(skep::moe::schedule_of_name("linear") == Kind::linear);
  CHECK(skep::moe::schedule_of_name("none") == Kind::none);
  CHECK_THROWS_WITH_AS((void)skep::moe::schedule_of_name("cosine"),
                       "skep: \"cosine\" is no schedule: linear and none are", skep::Error);
  for (const LearningRateSchedule wrong :
       {LearningRateSchedule{Kind::linear}, {Kind::linear, 5, 4}, {Kind::linear, -1, 4}}) {
    CHECK_THROWS_WITH_AS(skep::moe::check(wrong),
                         "skep: a linear schedule needs num_training_steps, at least 1 and not below num_warmup_steps",
                         skep::Error);
  }
  CHECK_NOTHROW(skep::moe::check({Kind::linear, 0, 1}));
}
