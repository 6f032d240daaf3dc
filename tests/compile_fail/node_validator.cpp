// A DHT node with a validator that validates nothing.
// expect: constraints not satisfied for class template 'Node'
// expect: does not satisfy 'RecordValidator'
#include "skep/dht/node.hpp"
#include "skep/p2p/host.hpp"

#ifdef WRONG
struct Validator {};
#else
struct Validator : skep::dht::AcceptAll {};
#endif
using Node = skep::dht::Node<skep::p2p::Host, Validator>;
