#include "skep/skep.hpp"

#include "support/coroutine.hpp"

TEST_CASE("a program finds everything below the experts with one include, without LibTorch") {
  using Simulated = skep::dht::Node<skep::sim::Host>;
  static_assert(skep::p2p::Network<skep::p2p::Host> && skep::p2p::Network<skep::sim::Host>);
  CHECK(sizeof(Simulated) <= sizeof(void*) * 2);  // a handle
}
