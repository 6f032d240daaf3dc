// A DHT node over something that carries no calls is refused by the name of what is missing.
// expect: constraints not satisfied for class template 'Node'
// expect: does not satisfy 'Network'
#include "skep/sim/network.hpp"
#include "skep/dht/node.hpp"

struct Telephone {};
#ifdef WRONG
using Node = skep::dht::Node<Telephone>;
#else
using Node = skep::dht::Node<skep::sim::Host>;
#endif
