#include "skep/moe/minibatch.hpp"

#include <doctest/doctest.h>

// How batches are made is in task_pool_test.cpp and pool_state_test.cpp.
TEST_CASE("a batch of which nothing came is empty") {
  const skep::moe::Minibatch<std::vector<int>, std::vector<int>> none;
  CHECK(none.empty());
  CHECK(none.sizes().empty());
  CHECK(none.samples() == 0);
}
