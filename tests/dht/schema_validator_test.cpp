#include "skep/dht/schema_validator.hpp"

#include <map>
#include <optional>
#include <string>

#include "skep/dht/composite_validator.hpp"
#include "skep/dht/owner_tag.hpp"
#include "skep/dht/rsa_validator.hpp"

#include <doctest/doctest.h>

using namespace skep;
using codec::msgpack::Array;
using codec::msgpack::Map;
using codec::msgpack::Value;
using dht::BytesWithPublicKey;
using dht::Field;
using dht::SchemaValidator;

namespace {

using Natural = dht::Checked<std::int64_t, [](std::int64_t n) { return n >= 0; }>;
using Schema = SchemaValidator<Field<"experiment_name", Bytes>, Field<"n_batches", std::map<Bytes, Natural>>,
                               Field<"signed_data", std::map<BytesWithPublicKey, Bytes>>>;

/// Whether a value, or with a subkey an item, may be stored under a key.
template <class V>
bool takes(V validator, const std::string& key, const Value& value, std::optional<Value> subkey = {}) {
  const Bytes tag = subkey ? codec::msgpack::encode(*subkey) : Bytes{0xc0};
  const Bytes bytes = codec::msgpack::encode(value);
  return validator.validate({dht::key_id(key), tag, bytes, {10}});
}
const Bytes uid{1, 2};

}  // namespace

TEST_CASE("A9.5 a regular value is of its field's type") {
  const Schema schema;
  CHECK(takes(schema, "experiment_name", to_bytes("foo_bar")));
  for (const Value& wrong : {Value(666), Value("text"), Value(Array{to_bytes("bar")}), Value(), Value(Map{})}) {
    CHECK_FALSE(takes(schema, "experiment_name", wrong));
  }
  CHECK_FALSE(takes(schema, "experiment_name", to_bytes("foo"), uid));  // no subkey is expected
  const Bytes broken{0xc1};
  CHECK_FALSE(schema.validate({dht::key_id("experiment_name"), dht::msgpack::encode(Value()), broken, {10}}));
}

TEST_CASE("A9.5 a dictionary is checked item by item, subkeys too; a plain one in its stead is refused") {
  const Schema schema;
  CHECK(takes(schema, "n_batches", 777, uid));
  for (const Value& wrong : {Value(-666), Value(779.0), Value(779.5), Value(Array{778}), Value("")}) {
    CHECK_FALSE(takes(schema, "n_batches", wrong, uid));
  }
  CHECK_FALSE(takes(schema, "n_batches", 777, 7));
  CHECK_FALSE(takes(schema, "n_batches", 777, "text"));
  CHECK_FALSE(takes(schema, "n_batches", 777));
  CHECK_FALSE(takes(schema, "n_batches", Map{{uid, 777}}));
}

TEST_CASE("A9.7 subkeys that have to name their owner") {
  CHECK(takes(Schema(), "signed_data", to_bytes("v"), to_bytes("uid[owner:somebody]")));
  CHECK_FALSE(takes(Schema(), "signed_data", to_bytes("v"), to_bytes("uid[owner:]")));
  CHECK_FALSE(takes(Schema(), "signed_data", to_bytes("v"), "uid[owner:somebody]"));
}

TEST_CASE("A9.5 keys outside the schema, and a prefix of all its keys") {
  const Schema lax;
  const Schema strict({.allow_extra_keys = false});
  CHECK(takes(lax, "unknown", 1));
  CHECK_FALSE(takes(strict, "unknown", 1));
  const Schema prefixed({.allow_extra_keys = false, .prefix = "run"});
  CHECK(takes(prefixed, "run_experiment_name", to_bytes("x")));
  CHECK_FALSE(takes(prefixed, "run_experiment_name", 1));
  CHECK_FALSE(takes(prefixed, "experiment_name", to_bytes("x")));
}

TEST_CASE("A9.6 merged schemas complete each other: any may accept, extra keys are allowed where any allows them") {
  using Text = SchemaValidator<Field<"experiment_name", std::string>, Field<"title", std::string>>;
  using Number = SchemaValidator<Field<"title", int>>;
  auto merged = dht::compose_validators(Schema({.allow_extra_keys = false}), dht::RsaSignatureValidator(),
                                        Text({.allow_extra_keys = false}), Number({.allow_extra_keys = false}));
  static_assert(
      std::same_as<decltype(merged),
                   dht::CompositeValidator<dht::MergedSchemas<Schema, Text, Number>, dht::RsaSignatureValidator>>);
  CHECK(takes(merged, "experiment_name", to_bytes("bytes")));
  CHECK(takes(merged, "experiment_name", "text"));
  CHECK_FALSE(takes(merged, "experiment_name", 3));
  CHECK(takes(merged, "title", 3));
  CHECK_FALSE(takes(merged, "title", 3.0));
  CHECK_FALSE(takes(merged, "unknown", 1));
  auto lax = dht::compose_validators(Schema({.allow_extra_keys = false}), Text({.allow_extra_keys = true}));
  CHECK(takes(lax, "unknown", 1));
  CHECK_FALSE(takes(lax, "n_batches", "x", uid));  // it is one of a schema's keys, and no schema accepts it
}

TEST_CASE("A8.3 a schema sees values without their signature") {
  auto both = dht::compose_validators(Schema({.allow_extra_keys = false}), dht::RsaSignatureValidator());
  const Bytes subkey = codec::msgpack::encode(to_bytes(both.get<dht::RsaSignatureValidator>().owner_tag()));
  const auto signed_value = [&](const Value& value) {
    const Bytes bytes = codec::msgpack::encode(value);
    return both.sign({dht::key_id("n_batches"), subkey, bytes, {10}});
  };
  CHECK(both.validate({dht::key_id("n_batches"), subkey, signed_value(777), {10}}));
  CHECK_FALSE(both.validate({dht::key_id("n_batches"), subkey, signed_value(-777), {10}}));
  CHECK_FALSE(takes(both, "n_batches", 777, to_bytes(both.get<dht::RsaSignatureValidator>().owner_tag())));
}
