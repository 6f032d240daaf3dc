#include "skep/p2p/listener.hpp"

#include <asio/io_context.hpp>

#include <doctest/doctest.h>

using namespace skep;
using namespace skep::p2p;

TEST_CASE("port 0 is a free port, under which the listener is reached") {
  asio::io_context io;
  const auto acceptor = listen_on(io.get_executor(), Multiaddr::parse("/ip4/127.0.0.1/tcp/0"));
  std::vector<Multiaddr> reachable;
  append_reachable(reachable, acceptor->local_endpoint());
  REQUIRE(reachable.size() == 1);
  CHECK(reachable[0].to_string() == "/ip4/127.0.0.1/tcp/" + std::to_string(acceptor->local_endpoint().port()));
}

TEST_CASE("all interfaces stand for their addresses") {
  asio::io_context io;
  const auto acceptor = listen_on(io.get_executor(), Multiaddr::parse("/ip4/0.0.0.0/tcp/0"));
  std::vector<Multiaddr> reachable;
  append_reachable(reachable, acceptor->local_endpoint());
  CHECK_FALSE(reachable.empty());
  for (const auto& address : reachable) CHECK(address.to_string().find("/0.0.0.0/") == std::string::npos);
}

TEST_CASE("a port in use and an address that is none are refused with what to do") {
  asio::io_context io;
  const auto taken = listen_on(io.get_executor(), Multiaddr::parse("/ip4/127.0.0.1/tcp/0"));
  const auto same = "/ip4/127.0.0.1/tcp/" + std::to_string(taken->local_endpoint().port());
  CHECK_THROWS_WITH_AS(static_cast<void>(listen_on(io.get_executor(), Multiaddr::parse(same))),
                       doctest::Contains("the port is in use; choose another, or 0 for any free one"), Error);
  CHECK_THROWS_WITH_AS(static_cast<void>(listen_on(io.get_executor(), Multiaddr::parse("/dns4/example.org/tcp/1"))),
                       doctest::Contains("give it as /ip4/ADDRESS/tcp/PORT"), Error);
}
