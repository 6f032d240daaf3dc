#include "skep/cli/visible_addresses.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using skep::p2p::Multiaddr;

namespace {
std::vector<Multiaddr> read(const std::vector<std::string>& texts) {
  std::vector<Multiaddr> out;
  for (const auto& text : texts) out.push_back(Multiaddr::parse(text));
  return out;
}
}  // namespace

TEST_CASE("D3.1 the invitation is pastable, and prefers one host: global before private, IPv4 before IPv6") {
  const std::string id = "/p2p/12D3KooWSCufgHzV4fCwRijfH2k3abrpAJxTKxEvN1FDuRXA2U9x";
  const std::string loopback = "/ip4/127.0.0.1/tcp/1" + id, nearby = "/ip4/10.0.0.2/tcp/1" + id,
                    global6 = "/ip6/2a00::1/tcp/1" + id, global4 = "/ip4/93.184.216.34/tcp/1" + id,
                    second = "/ip4/93.184.216.34/tcp/2" + id;
  const std::string begin = "Running a DHT instance. To connect other peers to this one, use --initial_peers ";
  CHECK(skep::cli::invitation(read({loopback, nearby, global6, global4, second})) == begin + global4 + " " + second);
  CHECK(skep::cli::invitation(read({loopback, nearby, global6})) == begin + global6);
  CHECK(skep::cli::invitation(read({loopback, nearby})) == begin + nearby);
  CHECK(skep::cli::invitation(read({loopback})) == begin + loopback);
}

TEST_CASE("D3.2 the full list has every address") {
  CHECK(skep::cli::full_list(read({"/ip4/127.0.0.1/tcp/1", "/ip6/::1/tcp/1"})) ==
        "Full list of visible multiaddresses: /ip4/127.0.0.1/tcp/1 /ip6/::1/tcp/1");
}

TEST_CASE("the start says from where each address can be reached") {
  const std::string id = "/p2p/12D3KooWSCufgHzV4fCwRijfH2k3abrpAJxTKxEvN1FDuRXA2U9x";
  const std::string loopback = "/ip4/127.0.0.1/tcp/1" + id, nearby = "/ip4/10.0.0.2/tcp/1" + id,
                    loopback6 = "/ip6/::1/tcp/2" + id, global = "/ip4/93.184.216.34/tcp/1" + id,
                    name = "/dns4/skep.example/tcp/3" + id;
  CHECK(skep::cli::reach(read({loopback, nearby, global, name})) ==
        "Reachable from the internet at 93.184.216.34:1, skep.example:3, from the local network at 10.0.0.2:1, from "
        "this machine at 127.0.0.1:1");
  CHECK(skep::cli::reach(read({loopback, nearby})) ==
        "Reachable from the local network at 10.0.0.2:1, from this machine at 127.0.0.1:1, not from the internet");
  CHECK(skep::cli::reach(read({loopback, loopback6})) ==
        "Reachable from this machine at 127.0.0.1:1, [::1]:2, from nowhere else");
  CHECK(skep::cli::reach({}).empty());
}

TEST_CASE("D3.4 the node's addresses and its initial peers in Hivemind's words") {
  CHECK(skep::cli::running_node(read({"/ip4/127.0.0.1/tcp/1", "/ip6/::1/tcp/1"}), {"a", "b"}) ==
        "Running DHT node on ['/ip4/127.0.0.1/tcp/1', '/ip6/::1/tcp/1'], initial peers = ['a', 'b']");
  CHECK(skep::cli::running_node(read({"/ip4/127.0.0.1/tcp/1"}), {}) ==
        "Running DHT node on ['/ip4/127.0.0.1/tcp/1'], initial peers = []");
}
