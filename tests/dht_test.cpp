#include "skep/dht.hpp"

#include <doctest/doctest.h>

using namespace std::chrono_literals;

TEST_CASE("the notebook of the README") {
  skep::dht::DHT dht({.host_maddrs = {"/ip4/127.0.0.1/tcp/0"}});
  CHECK(dht.store("greeting", "hello", skep::expires_in(10min)));
  const auto found = dht.get("greeting");
  REQUIRE(found);
  CHECK(found->value == "hello");
}

TEST_CASE("the same from a coroutine, with a host of one's own") {
  skep::Runner runner;
  const auto count = runner.block_on([&]() -> skep::awaitable<std::size_t> {
    skep::p2p::Host host(runner.executor());
    auto node = co_await skep::dht::Node<>::create(host, {.client_mode = true});
    auto found = co_await node.get_many({"a", "b", "c"}, {.latest = true, .timeout = 5s});
    node.close();
    host.close();
    co_await node.join();
    co_await host.join();
    co_return found.size();
  });
  CHECK(count == 3);
}
