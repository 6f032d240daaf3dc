#include "skep/p2p/host_options.hpp"

#include <doctest/doctest.h>

using namespace skep::p2p;

TEST_CASE("every wait of a host has an end by default, and every number a bound") {
  const HostLimits limits;
  for (const auto wait :
       {limits.upgrade_timeout, limits.dial_timeout, limits.connect_timeout, limits.negotiation_timeout,
        limits.request_timeout, limits.stream_timeout, limits.identify_timeout, limits.routing_timeout,
        limits.ping_idle_timeout, limits.routing_idle_timeout, limits.keepalive, limits.pong_timeout}) {
    CHECK(wait > skep::Duration::zero());
    CHECK(wait <= std::chrono::seconds(60));
  }
  CHECK(limits.max_connections > 0);
  CHECK(limits.max_stream_message >= 8 * 1024 * 1024);  // a full chunk of Hivemind is 4 MiB and 27 bytes
}
