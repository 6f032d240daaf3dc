// A schema's types are those that records can hold.
// expect: skep: a value of the DHT is read as bool, an integer, double
#include "skep/dht/value_as.hpp"

struct Opaque {
  void* pointer;
};
#ifdef WRONG
using T = Opaque;
#else
using T = int;
#endif
bool fits(const skep::codec::msgpack::Value& value) { return skep::dht::value_as<T>(value).has_value(); }
