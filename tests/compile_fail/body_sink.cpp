// A sink that cannot be told how many bytes were written is no BodySink.
// expect: does not satisfy 'BodySink'
// expect: no member named 'filled' in 'Half'
#include "skep/p2p/payload.hpp"

struct Half {
  std::error_code start(std::size_t) { return {}; }
  skep::MutableBytes destination() { return {}; }
#ifndef WRONG
  std::error_code filled(std::size_t) { return {}; }
#endif
};
static_assert(skep::p2p::BodySink<Half>);
