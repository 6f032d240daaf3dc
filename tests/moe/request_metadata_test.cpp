#include "skep/moe/request_metadata.hpp"

#include <limits>

// doctest comes last
#include <doctest/doctest.h>

using namespace skep;
using moe::RequestMetadata;
namespace msgpack = codec::msgpack;

TEST_CASE("what a client says of its request comes back as it was") {
  CHECK(RequestMetadata::decode(RequestMetadata{.timeout = 1500ms}.encode()).timeout == 1500ms);
  CHECK_FALSE(RequestMetadata::decode(RequestMetadata{}.encode()).timeout);
  CHECK_FALSE(RequestMetadata::decode({}).timeout);
  const auto both = RequestMetadata::decode(RequestMetadata{.timeout = 1s, .ticket = {1, 2}}.encode());
  CHECK(both.timeout == 1s);
  CHECK(both.ticket == Bytes{1, 2});
  CHECK(RequestMetadata::decode(msgpack::encode(msgpack::Map{{"ticket", "a text"}})).ticket.empty());
}

TEST_CASE("metadata goes before a request's other fields, and nowhere when it says nothing") {
  p2p::Payload request(Bytes{0x0a, 1, 'u'});
  RequestMetadata{}.prepend_to(request);
  CHECK(request.size() == 3);
  const RequestMetadata metadata{.ticket = {1, 2}};
  metadata.prepend_to(request);
  Bytes expected{0x1a, static_cast<std::uint8_t>(metadata.encode().size())};
  append(expected, metadata.encode());
  append(expected, Bytes{0x0a, 1, 'u'});
  CHECK(std::move(request).flatten() == expected);
}

TEST_CASE("metadata that cannot be read is as if it were not there") {
  const auto timeout_of = [](msgpack::Value value) {
    return RequestMetadata::decode(msgpack::encode(msgpack::Map{{"other", 1}, {"timeout", std::move(value)}})).timeout;
  };
  CHECK(timeout_of(2) == 2s);
  CHECK(timeout_of(0.25) == 250ms);
  CHECK(timeout_of(-1.0) == 0s);
  CHECK(timeout_of(1e300) == 1'000'000s);
  CHECK_FALSE(timeout_of(std::numeric_limits<double>::quiet_NaN()));
  CHECK_FALSE(timeout_of("soon"));
  CHECK_FALSE(RequestMetadata::decode(msgpack::encode("a text")).timeout);
  const Bytes rubbish{0xc1, 0xff};
  CHECK_FALSE(RequestMetadata::decode(rubbish).timeout);
}
