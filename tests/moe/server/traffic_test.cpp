#include "skep/moe/server/traffic.hpp"

// doctest comes last: LibTorch's CHECK must not hide its own
#include <doctest/doctest.h>

TEST_CASE("requests are counted for their expert, those for no expert together") {
  skep::moe::ServerTraffic traffic({"ffn.0", "ffn.1"});
  ++traffic.of("ffn.1").forward;
  traffic.of("ffn.1").bytes_in += 100;
  ++traffic.of("ffn.7").invalid;
  const auto now = traffic.snapshots();
  CHECK(now.size() == 2);
  CHECK(now.at("ffn.1").forward == 1);
  CHECK(now.at("ffn.1").bytes_in == 100);
  CHECK(now.at("ffn.0").forward == 0);
  CHECK(traffic.others().invalid == 1);
}
