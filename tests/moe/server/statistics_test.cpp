#include "skep/moe/server/statistics.hpp"

#include <doctest/doctest.h>

using skep::moe::PoolReport;
using namespace std::chrono_literals;

TEST_CASE("C5.7 H-20 a report counts what happened since the last, with units that are right below one a second") {
  const PoolReport before{{"a.0_forward", {.batches = 10, .samples = 100}}};
  const PoolReport after{{"a.0_forward", {.batches = 30, .samples = 500}},
                         {"a.0_backward", {.batches = 2, .samples = 2}},
                         {"b.0_forward", {}}};
  const auto lines = skep::moe::report_lines(before, after, 10s);
  CHECK(lines == std::vector<std::string>{
                     "Processed 22 batches in last 10.0 seconds:",
                     "a.0_backward: 2 batches (5.00 s/batch), 2 examples (5.00 s/example), avg batch size 1.0",
                     "a.0_forward: 20 batches (2.0 batches/s), 400 examples (40.0 examples/s), avg batch size 20.0"});
}
