#include "skep/moe/server/checkpoint_options.hpp"

#include <doctest/doctest.h>

TEST_CASE("C8.1 nothing is saved without a folder; with one, every 30 s and the last three files") {
  const skep::moe::CheckpointOptions options;
  CHECK(options.directory.empty());
  CHECK(options.period == std::chrono::seconds(30));
  CHECK(options.keep == 3);
}
