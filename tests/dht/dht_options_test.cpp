#include "skep/dht/dht_options.hpp"

#include <doctest/doctest.h>

using namespace skep;

TEST_CASE("A1.1 by default a DHT starts at once, serves, and listens where the kernel chooses") {
  const dht::DHTOptions options;
  CHECK(options.start);
  CHECK(options.await_ready);
  CHECK_FALSE(options.client_mode);
  CHECK(options.initial_peers.empty());
  CHECK(options.host_maddrs == std::vector<std::string>{"/ip4/0.0.0.0/tcp/0"});
}

TEST_CASE("A1.1 D1.3 D4 SKEP_DHT_NUM_WORKERS speaks where the options keep the default, empty it is not set") {
  using dht::detail::workers_by_environment;
  CHECK(workers_by_environment(4, nullptr) == 4);
  CHECK(workers_by_environment(4, "") == 4);
  CHECK(workers_by_environment(4, "12") == 12);
  CHECK(workers_by_environment(7, "12") == 7);
  for (const char* bad : {"0", "-1", "many", "8x", "4 ", "2000", "99999999999999999999"}) {
    CHECK_THROWS_WITH_AS((void)workers_by_environment(4, bad), doctest::Contains("SKEP_DHT_NUM_WORKERS"), Error);
  }
}
