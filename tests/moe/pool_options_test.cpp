#include "skep/moe/pool_options.hpp"

#include <doctest/doctest.h>

TEST_CASE("a task has no deadline and no preference unless it says so") {
  const skep::moe::TaskOptions options;
  CHECK(options.deadline == skep::SteadyTime::max());
  CHECK(options.priority == 0);
}
