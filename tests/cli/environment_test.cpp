#include "skep/cli/environment.hpp"

#include <doctest/doctest.h>

using namespace skep;

TEST_CASE("D1.3 D4 SKEP_DHT_NUM_WORKERS") {
  CHECK(cli::dht_num_workers(nullptr) == 4);
  CHECK(cli::dht_num_workers("1") == 1);
  CHECK(cli::dht_num_workers("16") == 16);
  for (const char* wrong : {"", "0", "-1", "many", "4 ", "2000"}) {
    CAPTURE(wrong);
    CHECK_THROWS_WITH_AS((void)cli::dht_num_workers(wrong), doctest::Contains("SKEP_DHT_NUM_WORKERS: \""), Error);
  }
}
