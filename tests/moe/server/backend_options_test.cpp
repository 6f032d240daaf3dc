#include "skep/moe/server/backend_options.hpp"

// doctest comes last: LibTorch's CHECK must not hide its own
#include <doctest/doctest.h>

TEST_CASE("C1.10 D1 an expert is trained as Hivemind trains it unless it is told otherwise") {
  const skep::moe::BackendOptions options;
  CHECK(options.optimizer({torch::ones({1})}) != nullptr);
  CHECK(options.schedule == skep::moe::LearningRateSchedule{});
  CHECK_FALSE(options.clip_grad_norm);
  CHECK(options.accumulate_samples == 0);
  CHECK((options.gradient_reduction == skep::moe::GradientReduction::sum));
  CHECK(options.max_batch_size == 4096);
}
