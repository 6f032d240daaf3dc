#include "skep/cli/http_server.hpp"

#include <memory>
#include <string>

#include "cli/http_client.hpp"
// doctest comes last
#include <doctest/doctest.h>

using namespace skep;
using cli::HttpServer;
using skep::test::Client;

namespace {

const auto loopback = p2p::Multiaddr::parse("/ip4/127.0.0.1/tcp/0");

dht::DHT a_dht() { return dht::DHT({.host_maddrs = {"/ip4/127.0.0.1/tcp/0"}}); }

}  // namespace

TEST_CASE("the page is served over a socket, anew for every request") {
  int asked = 0;
  const HttpServer server(a_dht(), loopback, {"/metrics", "text/plain", [&] { return std::to_string(++asked); }});
  CHECK(server.url().starts_with("http://127.0.0.1:"));
  CHECK(server.url().ends_with("/metrics"));
  for (const char* body : {"1", "2"}) {
    const Client client(server.url());
    client.send("GET /metr");
    client.send("ics HTTP/1.1\r\nHost: x\r\n\r\n");
    const auto answer = client.rest();
    CHECK(answer.starts_with("HTTP/1.1 200 OK\r\n"));
    CHECK(answer.ends_with(std::string("\r\n\r\n") + body));
  }
  const Client large(server.url());
  large.send(std::string(100'000, 'x'));
  CHECK(large.rest().starts_with("HTTP/1.1 431 "));
}

TEST_CASE("a silent client is closed at its deadline, one too many at once; the others are served") {
  const HttpServer server(a_dht(), loopback, {"/metrics", "text/plain", [] { return std::string("text"); }},
                          {.connections = 2, .deadline = 300ms});
  const Client silent(server.url());
  const Client slow(server.url());
  slow.send("GET");
  const Client third(server.url());
  CHECK(third.rest().empty());
  CHECK(silent.rest().empty());
  CHECK(slow.rest().empty());
  std::string answer;
  for (int i = 0; i < 100 && answer.empty(); ++i) {  // the places of those who left become free a moment later
    const Client client(server.url());
    client.send("GET /metrics HTTP/1.1\r\n\r\n");
    answer = client.rest();
  }
  CHECK(answer.ends_with("text"));
}

TEST_CASE("a port in use says so; the end waits for nobody") {
  auto dht = a_dht();
  const HttpServer server(dht, loopback, {"/metrics", "text/plain", [] { return std::string(); }});
  const auto port = server.url().substr(17, server.url().rfind('/') - 17);
  CHECK_THROWS_WITH_AS(HttpServer(dht, p2p::Multiaddr::parse("/ip4/127.0.0.1/tcp/" + port), {}),
                       ("skep: cannot listen on /ip4/127.0.0.1/tcp/" + port +
                        ": the port is in use; choose another, or 0 for any free one")
                           .c_str(),
                       Error);
  auto other = std::make_unique<HttpServer>(dht, loopback, cli::HttpPage{"/metrics", "text/plain", {}});
  const Client silent(other->url());
  other.reset();
  CHECK(silent.rest().empty());
  dht.shutdown();
}
