// MessagePack from anywhere: values, tokens, whole values stepped over, and the dictionaries of DHT records.
#include "skep/codec/msgpack.hpp"

#include "fuzz/fuzz.hpp"
#include "skep/dht/dictionary.hpp"
#include "support/vectors.hpp"

using namespace skep;
namespace msgpack = skep::codec::msgpack;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const BytesView bytes(data, size);

  msgpack::Reader tokens(bytes);
  std::size_t left = tokens.rest().size();
  while (tokens.next()) {
    SKEP_FUZZ_CHECK(tokens.rest().size() < left);
    left = tokens.rest().size();
  }

  msgpack::Reader values(bytes);
  const auto first = values.skip();
  if (first) SKEP_FUZZ_CHECK(first->size() + values.rest().size() == size);

  const auto value = msgpack::decode(bytes);
  SKEP_FUZZ_CHECK(msgpack::is_readable(bytes) == value.has_value());
  if (value) {
    SKEP_FUZZ_CHECK(first && first->size() == size);
    const Bytes canonical = msgpack::encode(*value);
    const auto again = msgpack::decode(canonical);
    SKEP_FUZZ_CHECK(again);
    SKEP_FUZZ_CHECK(msgpack::encode(*again) == canonical);
  }

  if (const auto dictionary = dht::Dictionary::decode(bytes)) {
    const Bytes written = dictionary->encode(WallTime{0});
    SKEP_FUZZ_CHECK(dht::Dictionary::decode(written));
  }
  return 0;
}

static std::vector<Bytes> seeds() {
  using namespace skep_test;
  std::vector<Bytes> out{vector_bytes("dht", "dictionary", "four"), vector_bytes("dht", "dictionary", "one"),
                         vector_bytes("dht", "find_dictionary", "value"), vector_bytes("moe", "info_two.1.1", "bytes")};
  for (const auto& entry : vector_of("dht", "msgpack").at("cases")) {
    out.push_back(unhex(entry.at("msgpack").get<std::string>()));
  }
  return out;
}

SKEP_FUZZ_TEST("MessagePack outlives whatever comes", seeds(), 20'000)
