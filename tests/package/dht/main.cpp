#include <iostream>
#include <skep/dht.hpp>

int main() {
  using namespace std::chrono_literals;
  skep::dht::DHT first;                                              // a swarm of one
  skep::dht::DHT second({.initial_peers = first.visible_maddrs()});  // joins it
  first.store("greeting", "hello", skep::expires_in(10min));         // values are nlohmann::json
  if (auto found = second.get("greeting")) std::cout << found->value << '\n';
}
