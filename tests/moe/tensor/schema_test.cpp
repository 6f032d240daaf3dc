#include "skep/moe/tensor/schema.hpp"

#include "moe/tensor/support.hpp"
// doctest comes last: LibTorch's CHECK must not hide its own
#include <doctest/doctest.h>

using namespace skep::moe;  // NOLINT(*-using-namespace)
using skep::test::from_hex;
using skep::test::moe_vector;

namespace {
BatchTensorDescriptor by_hand(std::vector<std::int64_t> size, std::optional<at::ScalarType> dtype = {}) {
  return {.size = std::move(size), .dtype = dtype, .device_type = std::nullopt};
}
SchemaTree one(BatchTensorDescriptor d) { return SchemaTree::tuple({std::move(d)}); }
skep::Bytes info(const std::string& name) { return from_hex(moe_vector(name).at("bytes").get<std::string>()); }
}  // namespace

TEST_CASE("E-11 schemas have Hivemind's bytes") {
  const BatchTensorDescriptor wide{.size = {1024}};
  CHECK(ExpertSchema{.args = one(wide), .outputs = wide}.encode() == info("info_nop.0"));

  const BatchTensorDescriptor out4{.size = {4}, .requires_grad = true};
  CHECK(ExpertSchema{.args = one(by_hand({4})), .outputs = out4}.encode() == info("info_affine.5.7"));

  auto half = by_hand({8});
  half.compression = Compression::float16;
  const BatchTensorDescriptor out8{.size = {8}};
  CHECK(ExpertSchema{.args = one(half), .outputs = out8}.encode() == info("info_half.0"));

  const BatchTensorDescriptor plain{.size = {4}};
  const ExpertSchema two{.args = SchemaTree::tuple({by_hand({4}), by_hand({4}, at::kLong)}),
                         .kwargs = SchemaTree::dict({"zeta", "alpha"}, {by_hand({4}), by_hand({4})}),
                         .outputs = SchemaTree::dict({"a", "b"}, {SchemaTree::tuple({plain, plain}), out4}),
                         .keyword_names = {"zeta", "alpha"}};
  CHECK(two.encode() == info("info_two.1.1"));
}

TEST_CASE("every schema of a live Hivemind server is read and written back as it was") {
  for (const char* name : {"info_nop.0", "info_affine.5.7", "info_affine.5.9.2", "info_two.1.1", "info_wide.0",
                           "info_half.0", "info_uni.0"}) {
    CAPTURE(name);
    const auto schema = ExpertSchema::decode(info(name));
    REQUIRE(schema);
    CHECK(schema->encode() == info(name));
  }
  const auto two = *ExpertSchema::decode(info("info_two.1.1"));
  const auto inputs = two.inputs();
  REQUIRE(inputs.size() == 4);  // x, i, alpha, zeta
  CHECK((inputs[1].dtype == at::kLong));
  CHECK(two.flat_outputs().size() == 3);
  CHECK(two.flat_outputs()[2].requires_grad);
}

TEST_CASE("a damaged schema is an error, never a crash") {
  CHECK(ExpertSchema::decode({}).error() == skep::errc::truncated);
  CHECK(ExpertSchema::decode(from_hex("80")).error() == skep::errc::malformed);
  skep::Random random(3);
  const auto good = info("info_two.1.1");
  for (int i = 0; i < 3000; ++i) {
    auto bytes = good;
    bytes[random.below(bytes.size())] = static_cast<std::uint8_t>(random());
    const auto schema = ExpertSchema::decode(bytes);
    if (schema) CHECK(ExpertSchema::decode(schema->encode()));
  }
}

TEST_CASE("a schema whose samples nobody has room for is malformed") {
  const auto refused = [](std::vector<std::int64_t> size, std::optional<at::ScalarType> dtype) {
    const auto schema =
        ExpertSchema::decode(ExpertSchema{.args = one(by_hand(size, dtype)), .outputs = one({})}.encode());
    return !schema && schema.error() == skep::errc::malformed;
  };
  constexpr std::int64_t mega = 1 << 20;
  CHECK_FALSE(refused({2048, mega}, at::kByte));
  CHECK_FALSE(refused({512, mega}, at::kFloat));
  CHECK_FALSE(refused({0, mega}, at::kFloat));
  CHECK(refused({2049, mega}, at::kByte));
  CHECK(refused({513, mega}, at::kFloat));
  CHECK(refused({257, mega}, std::nullopt));
  CHECK(refused({0, std::numeric_limits<std::int64_t>::max()}, at::kFloat));
  CHECK(refused(std::vector<std::int64_t>(4, 65536), at::kByte));  // their product is 0 in 64 bits
}

TEST_CASE("descriptors tell what they take and make it") {
  const BatchTensorDescriptor d{.size = {64}};
  CHECK(d.to_string() == "float32[batch, 64]");
  CHECK(d.fits({16, 64}, at::kFloat));
  CHECK_FALSE(d.fits({16, 65}, at::kFloat));
  CHECK_FALSE(d.fits({16, 64, 1}, at::kFloat));
  CHECK_FALSE(d.fits({}, at::kFloat));
  CHECK_FALSE(d.fits({16, 64}, at::kDouble));
  CHECK(by_hand({64}).fits({16, 64}, at::kDouble));
  CHECK(d.make_zeros(3).sizes() == at::IntArrayRef({3, 64}));
  CHECK(BatchTensorDescriptor::of_batch(torch::ones({5, 64})) == d);
  CHECK(describe_tensor({16, 65}, at::kFloat) == "float32[16, 65]");
}
