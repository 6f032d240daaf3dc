#include "skep/moe/pool_options.hpp"

#include <doctest/doctest.h>

TEST_CASE("a task has no deadline and no preference unless it says so") {
  const skep::moe::TaskOptions options;
  CHECK(options.deadline == skep::SteadyTime::max());
  CHECK(options.priority == 0);
}

TEST_CASE("C7.1, H-26: a pool's batches start with one sample and its queue is bounded, unless it says otherwise") {
  const skep::moe::TaskPoolOptions options;
  CHECK(options.max_batch_size == 4096);
  CHECK(options.min_batch_size == 1);
  CHECK(options.max_queued == 1024);
  CHECK(options.oversize == skep::moe::Oversize::split);
}
