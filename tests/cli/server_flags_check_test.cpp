#include "skep/cli/server_flags_check.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace skep::cli;

TEST_CASE("D1 devices by name") {
  for (const char* good : {"cpu", "cuda", "cuda:0", "cuda:15"}) CHECK(detail::check_device(good).empty());
  for (const char* bad : {"", "gpu", "cuda:", "cuda:x", "cuda:-1", "CPU"}) {
    CAPTURE(bad);
    CHECK_FALSE(detail::check_device(bad).empty());
  }
}

TEST_CASE("options of a class are names with values, which may be empty") {
  for (const char* good : {"num_heads=8", "name=", "a=b=c"}) CHECK(detail::check_option(good).empty());
  for (const char* bad : {"", "=8", "num_heads"}) CHECK_FALSE(detail::check_option(bad).empty());
}

TEST_CASE("flags that fit together pass, the first that does not is told") {
  ServerFlags flags;
  flags.num_experts = 4;
  CHECK_NOTHROW(detail::check_together(flags));
  flags.expert_pattern = "ffn.[0:2].[0:2]";
  CHECK_NOTHROW(detail::check_together(flags));
  flags.num_experts = 5;
  CHECK_THROWS_AS(detail::check_together(flags), UsageError);
}
