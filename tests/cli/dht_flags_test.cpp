#include "skep/cli/dht_flags.hpp"

#include <doctest/doctest.h>

using namespace skep::cli;

TEST_CASE("D2 the defaults of skep-dht are those of hivemind-dht") {
  const auto parsed = parse_dht_flags({});
  REQUIRE(parsed.flags);
  CHECK(parsed.flags->network.initial_peers.empty());
  CHECK(parsed.flags->network.host_maddrs == std::vector<std::string>{"/ip4/0.0.0.0/tcp/0"});
  CHECK(parsed.flags->network.announce_maddrs.empty());
  CHECK(parsed.flags->network.identity_path.empty());
  CHECK(parsed.flags->refresh_period == 30);
}

TEST_CASE("D2 the flags of hivemind-dht are taken") {
  const auto parsed = parse_dht_flags({"--host_maddrs", "/ip4/127.0.0.1/tcp/0", "/ip6/::1/tcp/0", "--announce_maddrs",
                                       "/dns/example.org/tcp/31337", "--no_relay", "--use_auto_relay",
                                       "--refresh_period", "5", "--identity_path", "key"});
  REQUIRE(parsed.flags);
  CHECK(parsed.flags->network.host_maddrs.size() == 2);
  CHECK(parsed.flags->network.announce_maddrs.size() == 1);
  CHECK(parsed.flags->refresh_period == 5);
  CHECK(notes(parsed.flags->network).size() == 1);
}

TEST_CASE("D2 --use_ipfs is refused with what to do instead") {
  const auto parsed = parse_dht_flags({"--use_ipfs"});
  CHECK(parsed.exit_code == exit_usage);
  CHECK(parsed.text.find("--initial_peers") != std::string::npos);
}
