#include "skep/cli/network_flags.hpp"

#include <doctest/doctest.h>

using namespace skep::cli;

namespace {
Parsed<NetworkFlags> parse(std::vector<std::string> arguments) {
  NetworkFlags flags;
  CommandLine line("skep-server", "");
  declare(line, flags);
  return line.parse<NetworkFlags>(std::move(arguments), flags, [] {});
}
}  // namespace

TEST_CASE("a malformed initial peer is refused with the part that is wrong") {
  CHECK(parse({"--initial_peers", "/ip4/1.2.3/tcp/80"}).text ==
        "skep-server: --initial_peers: \"/ip4/1.2.3/tcp/80\" is not a multiaddress: \"1.2.3\" is not an IPv4 address");
}

TEST_CASE("an initial peer must name itself") {
  CHECK(parse({"--initial_peers", "/ip4/1.2.3.4/tcp/80"}).text.find("names no peer") != std::string::npos);
  const auto good =
      parse({"--initial_peers", "/ip4/1.2.3.4/tcp/80/p2p/12D3KooWSCufgHzV4fCwRijfH2k3abrpAJxTKxEvN1FDuRXA2U9x"});
  CHECK(good.flags);
}

TEST_CASE("addresses to listen on and to announce are plain TCP") {
  CHECK(parse({"--host_maddrs", "/ip4/0.0.0.0/udp/0"}).text.find("is no TCP address") != std::string::npos);
  CHECK(parse({"--announce_maddrs", "127.0.0.1:80"}).text.find("is not a multiaddress") != std::string::npos);
  CHECK(parse({"--announce_maddrs", "/ip4/1.2.3.4/tcp/0"}).text.find("has no port") != std::string::npos);
  CHECK(parse({"--announce_maddrs", "/ip4/0.0.0.0/tcp/80"}).text.find("is no place to go to") != std::string::npos);
}

TEST_CASE("D1.1, H-15: several addresses to listen on and to announce arrive whole") {
  const auto parsed = parse({"--host_maddrs", "/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/tcp/1", "--announce_maddrs",
                             "/ip4/203.0.113.1/tcp/31337"});
  REQUIRE(parsed.flags);
  CHECK(parsed.flags->host_maddrs == std::vector<std::string>{"/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/tcp/1"});
  CHECK(parsed.flags->announce_maddrs == std::vector<std::string>{"/ip4/203.0.113.1/tcp/31337"});
}
