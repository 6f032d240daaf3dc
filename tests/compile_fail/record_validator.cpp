// A validator that signs values must also say how they are read again.
// expect: does not satisfy 'RecordValidator'
// expect: no member named 'strip' in 'OneWay'
#include "skep/dht/validator.hpp"

struct OneWay {
  bool validate(const skep::dht::RecordView&) { return true; }
  skep::Bytes sign(const skep::dht::RecordView& record) { return skep::to_bytes(record.value); }
#ifndef WRONG
  skep::Bytes strip(const skep::dht::RecordView&, skep::Bytes value) { return value; }
#endif
};
static_assert(skep::dht::RecordValidator<OneWay>);
