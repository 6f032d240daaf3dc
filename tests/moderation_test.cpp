#include "skep/moderation.hpp"

#include <string>

#include "skep/codec/msgpack.hpp"
// doctest comes last
#include <doctest/doctest.h>

using namespace skep;

TEST_CASE("what guards a swarm is found with one include and composed") {
  const dht::Ed25519SignatureValidator owned;
  const dht::PredicateValidator small([](const dht::RecordView& record) { return record.value.size() <= 64; });
  auto guard = dht::compose_validators(owned, small);
  const Bytes subkey = codec::msgpack::encode("mine " + owned.owner_tag());
  const auto held = [&](const std::string& text) {
    const Bytes value = codec::msgpack::encode(text);
    return guard.sign({{}, subkey, value, {1.8e9}});
  };
  const auto good = held("short");
  CHECK(guard.validate({{}, subkey, good, {1.8e9}}));
  CHECK_FALSE(guard.validate({{}, subkey, held(std::string(80, 'x')), {1.8e9}}));
  CHECK_FALSE(guard.validate({{}, subkey, codec::msgpack::encode("unsigned"), {1.8e9}}));
}
