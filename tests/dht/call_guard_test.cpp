#include "skep/dht/call_guard.hpp"

#include <memory>
#include <string>

#include "dht/password.hpp"
#include "skep/sim/network.hpp"

#include <doctest/doctest.h>

using namespace skep;
using dht::auth_errc;
using Guard = dht::CallGuard<sim::Host>;
using skep_test::Password;

TEST_CASE("H-36 expert calls pass a guard only with a ticket of their caller and method") {
  const std::string forward = "ConnectionHandler.rpc_forward";
  sim::World world;
  sim::Host server(world);
  sim::Host client(world);
  Guard door(server, std::make_shared<Password>(7));
  CHECK(door);
  const auto ticket = world.run(Guard(client, std::make_shared<Password>(7)).ticket(server.self(), forward));
  CHECK(door.authorize(client.self(), forward, ticket));
  CHECK(door.authorize(server.self(), forward, ticket).error() == auth_errc::wrong_caller);
  CHECK(door.authorize(client.self(), "ConnectionHandler.rpc_backward", ticket).error() == auth_errc::wrong_caller);
  CHECK(door.authorize(client.self(), forward, {}).error() == auth_errc::missing);
  const auto foreign = world.run(Guard(client, std::make_shared<Password>(8)).ticket(server.self(), forward));
  CHECK(door.authorize(client.self(), forward, foreign).error() == auth_errc::invalid_token);
  CHECK_THROWS_WITH(world.run(Guard(client, std::make_shared<Password>(0)).ticket(server.self(), forward)),
                    "skep: no access");
}

TEST_CASE("a guard without an authorizer lets everybody through and asks for nothing") {
  sim::World world;
  sim::Host host(world);
  Guard door(host, nullptr);
  CHECK_FALSE(door);
  CHECK(door.authorize(host.self(), "m", {}));
  CHECK(world.run(door.ticket(host.self(), "m")).empty());
}
