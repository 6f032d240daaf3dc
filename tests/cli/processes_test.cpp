#include "skep/cli/processes.hpp"

#include <doctest/doctest.h>

using namespace skep::cli;

TEST_CASE("this process is counted") { CHECK(processes_of_this_program() >= 1); }

TEST_CASE("cores are shared among servers, at least one each") {
  static_assert(fair_share(8, 1) == 8);
  static_assert(fair_share(8, 3) == 2);
  static_assert(fair_share(2, 4) == 1);
  CHECK(fair_share(2, 0) == 2);
}
