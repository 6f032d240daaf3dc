#include "skep/moe/server/expert_state.hpp"

// doctest comes last: LibTorch's CHECK must not hide its own
#include <doctest/doctest.h>

TEST_CASE("a state is plain data with the names of the module") {
  skep::moe::ExpertState state;
  CHECK(state.parameters.is_empty());
  state.parameters.insert("weight", torch::ones({2}));
  state.optimizer = skep::moe::OptimizerState{.options = {{"lr", 0.1}}};
  const skep::moe::ExpertState copy = state;
  CHECK(copy.parameters["weight"].is_same(state.parameters["weight"]));
  CHECK(copy.optimizer->options.at("lr").toDouble() == 0.1);
  CHECK_FALSE(copy.schedule_step);
}
