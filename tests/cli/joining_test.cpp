#include "skep/cli/joining.hpp"

#include <doctest/doctest.h>

using namespace skep;

TEST_CASE("D1 flags become options, and the member says where it is reached") {
  cli::NetworkFlags flags;
  flags.host_maddrs = {"/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/tcp/0"};
  const auto options = cli::dht_options(flags);
  CHECK(options.initial_peers.empty());
  dht::DHT dht(options);
  const auto addresses = cli::visible_addresses(dht);
  REQUIRE(addresses.size() == 2);
  for (const auto& address : addresses) CHECK(address.peer_id() == dht.peer_id());

  flags.host_maddrs = {"/ip4/127.0.0.1/tcp/0"};
  flags.announce_maddrs = {"/ip4/203.0.113.1/tcp/31337"};
  dht::DHT announced(cli::dht_options(flags));
  REQUIRE(cli::visible_addresses(announced).size() == 1);
  CHECK(cli::visible_addresses(announced)[0].without_peer().to_string() == "/ip4/203.0.113.1/tcp/31337");
}

TEST_CASE("seconds of a flag, fractions too") { CHECK((cli::detail::seconds(0.25) == 250ms)); }
