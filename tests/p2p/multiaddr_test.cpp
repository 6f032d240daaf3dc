#include "skep/p2p/multiaddr.hpp"

#include <doctest/doctest.h>

#include <unordered_set>

#include "support/vectors.hpp"

using skep::Bytes;
using skep::BytesView;
using skep::p2p::Multiaddr;
using skep::p2p::MultiaddrCode;
using skep::p2p::PeerId;
using skep::p2p::TcpEndpoint;
using skep_test::unhex;

namespace {

const std::string peer_text = "12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq";
const std::string rsa_text = "QmaeANgBs1DTSxWSrPPtobgQuxW8XTfsS4ydbK4rCHzqxG";

std::string why_not(std::string_view text) {
  std::string reason;
  const auto address = Multiaddr::from_text(text, &reason);
  return address ? "it is one" : reason;
}

}  // namespace

TEST_CASE("an address has a text and bytes") {
  const auto address = Multiaddr::from_text("/ip4/127.0.0.1/tcp/31337");
  REQUIRE(address);
  CHECK(skep::to_hex(address->bytes()) == "047f000001067a69");
  CHECK(address->to_string() == "/ip4/127.0.0.1/tcp/31337");
  CHECK(*Multiaddr::from_bytes(address->bytes()) == *address);

  const auto named = Multiaddr::from_text("/ip4/127.0.0.1/tcp/31337/p2p/" + peer_text);
  REQUIRE(named);
  CHECK(skep::to_hex(named->bytes()) == "047f000001067a69a50326" + skep::to_hex(PeerId::from_text(peer_text)->bytes()));
  const auto rsa = Multiaddr::from_text("/ip4/127.0.0.1/tcp/31337/p2p/" + rsa_text);
  CHECK(skep::to_hex(rsa->bytes()).starts_with("047f000001067a69a503221220b6c8"));
}

TEST_CASE("every protocol is read from text and from bytes alike") {
  for (const std::string& text : std::vector<std::string>{
           "/ip4/0.0.0.0/tcp/0", "/ip6/::1/tcp/65535", "/ip6/2001:db8::5/udp/4001/quic-v1",
           "/ip6zone/eth0/ip6/fe80::1/tcp/80", "/dns/example.org/tcp/443/wss", "/dns4/example.org/tcp/80/ws",
           "/dns6/example.org/tcp/443/tls/ws", "/dnsaddr/bootstrap.libp2p.io", "/ip4/1.2.3.4/udp/1/quic",
           "/ip4/1.2.3.4/udp/1/quic-v1/webtransport/certhash/bciqaaaa", "/unix/tmp/a/b.sock",
           "/ip4/1.2.3.4/tcp/1/noise",
           "/ip4/1.2.3.4/tcp/5/p2p/12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq/p2p-circuit",
           "/p2p/12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq"}) {
    CAPTURE(text);
    const auto address = Multiaddr::from_text(text);
    REQUIRE(address);
    CHECK(address->to_string() == text);
    CHECK(*Multiaddr::from_bytes(address->bytes()) == *address);
  }
}

TEST_CASE("other spellings mean the same address") {
  CHECK(*Multiaddr::from_text("/ip4/1.2.3.4/tcp/80///") == *Multiaddr::from_text("/ip4/1.2.3.4/tcp/80"));
  CHECK(*Multiaddr::from_text("/ipfs/" + peer_text) == *Multiaddr::from_text("/p2p/" + peer_text));
  CHECK(*Multiaddr::from_text("/ip6/0:0::0:1/tcp/1") == *Multiaddr::from_text("/ip6/::1/tcp/1"));
}

TEST_CASE("the error says which part is wrong") {
  CHECK(why_not("/ip4/1.2.3/tcp/80") == "\"1.2.3\" is not an IPv4 address");
  CHECK(why_not("/ip4/1.2.3.4.5/tcp/80") == "\"1.2.3.4.5\" is not an IPv4 address");
  CHECK(why_not("/ip6/1.2.3.4/tcp/80") == "\"1.2.3.4\" is not an IPv6 address");
  CHECK(why_not("/ip4/1.2.3.4/tcp/65536") == "\"65536\" is not a port");
  CHECK(why_not("/ip4/1.2.3.4/tcp/80x") == "\"80x\" is not a port");
  CHECK(why_not("/ip4/1.2.3.4/tcp/-1") == "\"-1\" is not a port");
  CHECK(why_not("/ip4/1.2.3.4/tcp//p2p") == "\"\" is not a port");
  CHECK(why_not("/ip4/1.2.3.4/tcp") == "\"tcp\" is followed by nothing");
  CHECK(why_not("/ip4/1.2.3.4/tpc/80") == "\"tpc\" is not a protocol that skep knows");
  CHECK(why_not("/ip4/1.2.3.4/tcp/80/p2p/12D3KooW") == "\"12D3KooW\" is not a peer id");
  CHECK(why_not("/dns/a b/tcp/80") == "\"a b\" is not a name");
  CHECK(why_not("/dns//tcp/80") == "\"\" is not a name");
  CHECK(why_not("//ip4/1.2.3.4") == "\"\" is not a protocol that skep knows");
  CHECK(why_not("1.2.3.4:80") == "it does not begin with \"/\"");
  CHECK(why_not("") == "it does not begin with \"/\"");
  CHECK(why_not("/") == "it is empty");
  CHECK(why_not("/dns/" + std::string(2000, 'x')) == "it is longer than 1024 characters");
  CHECK(why_not("/ip4/\x1b[2J/tcp/1") == "\"\\x1b[2J\" is not an IPv4 address");
  CHECK_THROWS_WITH_AS((void)Multiaddr::parse("/ip4/1.2.3/tcp/80"),
                       "skep: \"/ip4/1.2.3/tcp/80\" is not a multiaddress: \"1.2.3\" is not an IPv4 address",
                       skep::Error);
  CHECK(Multiaddr::parse("/ip4/1.2.3.4/tcp/80").to_string() == "/ip4/1.2.3.4/tcp/80");
}

TEST_CASE("bytes that are no address are refused") {
  for (const char* hex : {
           "",                  // nothing
           "04", "047f0000",    // cut short
           "047f00000106",      // no port
           "0601",              // half a port
           "ff03", "8400",      // a code nobody has, a length that is not minimal
           "3500", "3502612f",  // an empty name, one with a slash
           "35ff",              // a length without end
           "a5030100",          // no peer id
           "a503ffffffff0f",    // a length beyond the end
           "d20300",            // an empty hash
       }) {
    CAPTURE(hex);
    CHECK(Multiaddr::from_bytes(unhex(hex)).error() == skep::errc::malformed);
  }
  CHECK(Multiaddr::from_bytes(Bytes(2000, 4)).error() == skep::errc::limit_exceeded);
}

TEST_CASE("an address cut at any byte is refused or shorter") {
  const auto whole = Multiaddr::parse("/dns4/example.org/tcp/80/p2p/" + peer_text);
  std::size_t parts = 0;
  for (std::size_t size = 0; size < whole.bytes().size(); ++size) {
    const auto address = Multiaddr::from_bytes(whole.bytes().first(size));
    if (address) ++parts;
  }
  CHECK(parts == 2);  // the name alone, the name and the port
}

TEST_CASE("the peer at the end comes and goes") {
  const PeerId peer = *PeerId::from_text(peer_text);
  const PeerId other = *PeerId::from_text(rsa_text);
  const auto bare = Multiaddr::parse("/ip4/1.2.3.4/tcp/80");
  CHECK(!bare.peer_id());
  CHECK(bare.without_peer() == bare);
  const auto named = bare.with_peer(peer);
  CHECK(named.to_string() == "/ip4/1.2.3.4/tcp/80/p2p/" + peer_text);
  CHECK(*named.peer_id() == peer);
  CHECK(named.without_peer() == bare);
  CHECK(*named.with_peer(other).peer_id() == other);
  CHECK(named.with_peer(other).without_peer() == bare);

  const auto relayed = Multiaddr::parse("/ip4/1.2.3.4/tcp/80/p2p/" + rsa_text + "/p2p-circuit");
  CHECK(!relayed.peer_id());
  CHECK(*relayed.with_peer(peer).peer_id() == peer);
  CHECK(relayed.with_peer(peer).without_peer() == relayed);
  CHECK(!Multiaddr().peer_id());
}

TEST_CASE("plain TCP addresses give a host and a port") {
  const auto endpoint = [](const std::string& text) { return Multiaddr::parse(text).tcp(); };
  CHECK(endpoint("/ip4/1.2.3.4/tcp/80") == TcpEndpoint{MultiaddrCode::ip4, "1.2.3.4", 80});
  CHECK(endpoint("/ip4/1.2.3.4/tcp/80/p2p/" + peer_text) == TcpEndpoint{MultiaddrCode::ip4, "1.2.3.4", 80});
  CHECK(endpoint("/ip6/::1/tcp/80") == TcpEndpoint{MultiaddrCode::ip6, "::1", 80});
  CHECK(endpoint("/ip6zone/eth0/ip6/fe80::1/tcp/80") == TcpEndpoint{MultiaddrCode::ip6, "fe80::1%eth0", 80});
  CHECK(endpoint("/dns4/example.org/tcp/80") == TcpEndpoint{MultiaddrCode::dns4, "example.org", 80});
  CHECK(endpoint("/dns/example.org/tcp/80")->is_name());
  CHECK(!endpoint("/ip4/1.2.3.4/tcp/80")->is_name());
  for (const std::string& text :
       {std::string("/ip4/1.2.3.4/tcp/80/ws"), std::string("/ip4/1.2.3.4/udp/80/quic-v1"), std::string("/ip4/1.2.3.4"),
        std::string("/dnsaddr/example.org"), "/ip4/1.2.3.4/tcp/80/p2p/" + peer_text + "/p2p-circuit",
        "/ip4/1.2.3.4/tcp/80/p2p/" + peer_text + "/p2p-circuit/p2p/" + rsa_text, std::string("/unix/tmp/x"),
        std::string("/ip6zone/eth0/ip4/1.2.3.4/tcp/80"), std::string("/tcp/80"), std::string("/ip6zone/eth0"),
        "/p2p/" + peer_text}) {
    CAPTURE(text);
    CHECK(!endpoint(text));
  }
  CHECK(!Multiaddr().tcp());
  CHECK(Multiaddr::from_tcp("1.2.3.4", 80)->to_string() == "/ip4/1.2.3.4/tcp/80");
  CHECK(Multiaddr::from_tcp("::1", 80)->to_string() == "/ip6/::1/tcp/80");
  CHECK(Multiaddr::from_tcp("fe80::1%eth0", 80)->to_string() == "/ip6zone/eth0/ip6/fe80::1/tcp/80");
  CHECK(!Multiaddr::from_tcp("1.2.3.4%eth0/", 80));
  CHECK(!Multiaddr::from_tcp("example.org", 80));
  CHECK(!Multiaddr::from_tcp("1.2.3.4/tcp/80/ws", 80));
}

TEST_CASE("how far an address reaches") {
  const auto kind = [](std::string_view text) {
    const auto address = Multiaddr::parse(text);
    return std::string(address.is_loopback() ? "loopback " : "") + (address.is_private() ? "private " : "") +
           (address.is_unspecified() ? "unspecified " : "");
  };
  CHECK(kind("/ip4/127.0.0.1/tcp/1") == "loopback ");
  CHECK(kind("/ip4/127.255.0.1/tcp/1") == "loopback ");
  CHECK(kind("/ip6/::1/tcp/1") == "loopback ");
  CHECK(kind("/ip6/::ffff:127.0.0.1/tcp/1") == "loopback ");
  CHECK(kind("/dns/localhost/tcp/1") == "loopback ");
  for (const char* text :
       {"/ip4/10.1.2.3", "/ip4/172.16.0.1", "/ip4/172.31.255.1", "/ip4/192.168.1.1", "/ip4/169.254.1.1",
        "/ip4/100.64.0.1", "/ip4/100.127.0.1", "/ip6/fd00::1", "/ip6/fe80::1", "/ip6/::ffff:10.0.0.1"}) {
    CAPTURE(text);
    CHECK(kind(text) == "private ");
  }
  for (const char* text : {"/ip4/8.8.8.8", "/ip4/172.32.0.1", "/ip4/172.15.0.1", "/ip4/100.128.0.1", "/ip4/11.0.0.1",
                           "/ip6/2001:db8::1", "/ip6/fec0::1", "/ip6/1::", "/dns/example.org/tcp/1", "/tcp/1"}) {
    CAPTURE(text);
    CHECK(kind(text).empty());
  }
  CHECK(kind("/ip4/0.0.0.0/tcp/1") == "unspecified ");
  CHECK(kind("/ip6/::/tcp/1") == "unspecified ");
  CHECK(!Multiaddr().is_loopback());
}

TEST_CASE("an address is a value") {
  const std::unordered_set<Multiaddr> set{Multiaddr::parse("/ip4/1.2.3.4/tcp/1"),
                                          Multiaddr::parse("/ip4/1.2.3.4/tcp/2"),
                                          Multiaddr::parse("/ip4/1.2.3.4/tcp/1")};
  CHECK(set.size() == 2);
  CHECK(Multiaddr().empty());
  CHECK(Multiaddr().to_string().empty());
  CHECK(Multiaddr() < Multiaddr::parse("/ip4/1.2.3.4/tcp/1"));
}
