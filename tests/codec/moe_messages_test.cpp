#include "skep/codec/moe_messages.hpp"

#include <doctest/doctest.h>

#include "skep/codec/msgpack.hpp"
#include "support/hostile.hpp"
#include "support/vectors.hpp"

using namespace skep;
using namespace skep::codec;
using skep_test::unhex;

TEST_CASE("the question what an expert is, and its answer") {
  CHECK(to_hex(ExpertUID{"nop.0"}.encode()) == "0a056e6f702e30");
  CHECK(ExpertUID::decode(unhex("0a056e6f702e30"))->uid == "nop.0");
  CHECK(ExpertUID{}.encode().empty());
  CHECK(ExpertUID::decode({})->uid.empty());
  CHECK(ExpertUID::decode(unhex("0a05")).error() == errc::malformed);
  const ExpertUID with_metadata{"nop.0", {1, 2}};  // for a moderated swarm; Hivemind skips the field
  CHECK(to_hex(with_metadata.encode()) == "0a056e6f702e301a020102");
  CHECK(*ExpertUID::decode(with_metadata.encode()) == with_metadata);

  const ExpertInfo info{skep_test::vector_bytes("moe", "info_nop.0", "bytes")};
  CHECK(*ExpertInfo::decode(info.encode()) == info);
  CHECK(to_hex(info.encode()).starts_with("0ab902"));
}

TEST_CASE("serialized_info of live experts is MessagePack that comes back byte for byte") {
  for (const char* name : {"info_nop.0", "info_affine.5.7", "info_affine.5.9.2", "info_two.1.1", "info_wide.0",
                           "info_half.0", "info_uni.0"}) {
    CAPTURE(name);
    const Bytes bytes = skep_test::vector_bytes("moe", name, "bytes");
    const auto info = msgpack::decode(bytes);
    REQUIRE(info);
    CHECK(msgpack::encode(*info) == bytes);
    const auto* schema = info->find("forward_schema");
    REQUIRE(schema != nullptr);
    CHECK(schema->is<msgpack::Tuple>());
    CHECK(info->find("keyword_names") != nullptr);
    REQUIRE(info->find("outputs_schema") != nullptr);
  }
}

TEST_CASE("hostile messages are read or refused") {
  const ExpertInfo info{skep_test::vector_bytes("moe", "info_two.1.1", "bytes")};
  skep_test::for_hostile_bytes(info.encode(), [](BytesView bytes) {
    (void)ExpertUID::decode(bytes);
    if (const auto read = ExpertInfo::decode(bytes)) (void)msgpack::decode(read->serialized_info);
  });
}
