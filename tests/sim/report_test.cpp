#include "skep/sim/report.hpp"

#include <sstream>

#include <doctest/doctest.h>

using namespace skep;

TEST_CASE("quantiles are by nearest rank") {
  CHECK(sim::quantile({}, 0.5) == Duration::zero());
  CHECK(sim::quantile({3ms, 1ms, 2ms}, 0.5) == 2ms);
  CHECK(sim::quantile({3ms, 1ms, 2ms}, 0.99) == 3ms);
  CHECK(sim::quantile({3ms, 1ms, 2ms}, 0) == 1ms);
}

TEST_CASE("a report reads well") {
  const sim::Report report{.nodes = 100,
                           .dead = 10,
                           .messages = 42,
                           .bytes = 4200,
                           .calls = {{"DHTProtocol.rpc_find", 21}},
                           .runs = {100ms, 300ms, 200ms},
                           .failures = 1,
                           .first_failure = "skep: no luck",
                           .time = 90500ms,
                           .transcript = 0xabc,
                           .seed = 7};
  std::ostringstream out;
  out << report;
  CHECK(out.str() ==
        "100 nodes, 10 of them dead; 42 messages, 4200 bytes; 90.5 s of virtual time\n"
        "  DHTProtocol.rpc_find: 21 calls\n"
        "3 runs, 1 of them failed; p50 200 ms, p99 300 ms\n"
        "first failure: skep: no luck\n"
        "seed 7, transcript 0000000000000abc");
}
