#include "skep/moe/tensor/tensor_sink.hpp"

#include "moe/tensor/support.hpp"
#include "skep/moe/tensor/serialize.hpp"
// doctest comes last: LibTorch's CHECK must not hide its own
#include <doctest/doctest.h>

using namespace skep::moe;  // NOLINT(*-using-namespace)
using skep::Bytes;
using skep::BytesView;
using skep::test::feed;
using skep::test::from_hex;
using skep::test::moe_vector;
using skep::test::text;

namespace {

Bytes message(std::string_view uid, std::vector<Tensor> tensors, std::vector<Compression> codecs = {}) {
  return tensor_message(uid, tensors, codecs).flatten();
}
std::vector<Bytes> stream(std::string_view uid, std::vector<Tensor> tensors, std::size_t chunk,
                          std::vector<Compression> codecs = {}) {
  std::vector<Bytes> messages;
  for (auto& payload : tensor_stream(uid, tensors, codecs, chunk)) messages.push_back(std::move(payload).flatten());
  return messages;
}
std::vector<Tensor> samples() {
  return {torch::randn({3, 50}), torch::arange(4, at::kLong),        torch::empty({0, 2}),
          torch::tensor(2.5F),   torch::ones({2, 2}, at::kBFloat16), torch::tensor({true, false})};
}
bool same(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  return std::ranges::equal(
      a, b, [](const Tensor& x, const Tensor& y) { return x.scalar_type() == y.scalar_type() && at::equal(x, y); });
}
std::string refusal_of(BytesView bytes, TensorLimits limits = {}) {
  TensorSink sink(limits);
  feed(sink, bytes);
  CHECK_FALSE(sink.take());
  return sink.refusal();
}
void put_tensor(Bytes& to, std::string_view fields) {
  const Bytes body = from_hex(fields);
  skep::append(to, skep::test::expert_message(body));
}
}  // namespace

TEST_CASE("a message is the same however it is cut") {
  const auto tensors = samples();
  const Bytes bytes = message("ffn.1.2", tensors);
  SUBCASE("whole") {
    TensorSink sink;
    feed(sink, bytes);
    CHECK(sink.uid() == "ffn.1.2");
    CHECK(same(*sink.take(), tensors));
  }
  SUBCASE("byte by byte") {
    TensorSink sink;
    feed(sink, bytes, [] { return std::size_t{1}; });
    CHECK(sink.uid() == "ffn.1.2");
    CHECK(same(*sink.take(), tensors));
  }
  SUBCASE("random pieces") {
    skep::Random random(5);
    for (int i = 0; i < 200; ++i) {
      TensorSink sink;
      feed(sink, bytes, [&] { return 1 + random.below(1 + random.below(200)); });
      REQUIRE(same(*sink.take(), tensors));
    }
  }
}

TEST_CASE("a stream is the same however it is cut and chunked") {
  const auto tensors = samples();
  skep::Random random(6);
  for (const std::size_t chunk :
       {std::size_t{1}, std::size_t{5}, std::size_t{64}, std::size_t{600}, std::size_t{4096}}) {
    CAPTURE(chunk);
    TensorSink sink;
    for (const Bytes& bytes : stream("ffn.1.2", tensors, chunk)) {
      feed(sink, bytes, [&] { return 1 + random.below(100); });
    }
    CHECK(sink.uid() == "ffn.1.2");
    CHECK(same(*sink.take(), tensors));
  }
}

TEST_CASE("several parts may stand in one message of a stream") {
  const auto tensors = samples();
  Bytes all;
  for (const Bytes& bytes : stream({}, tensors, 16)) skep::append(all, bytes);
  TensorSink sink;
  feed(sink, all, [] { return std::size_t{7}; });
  CHECK(same(*sink.take(), tensors));
}

TEST_CASE("tensors land 64-byte aligned in the storage they keep") {
  const Bytes bytes = message("a.0", {torch::randn({1000}), torch::randn({1000})});
  TensorSink sink;
  REQUIRE_FALSE(sink.start(bytes.size()));
  std::vector<const void*> written;
  for (BytesView left = bytes; !left.empty();) {
    const auto to = sink.destination();
    const auto n = std::min(to.size(), left.size());
    std::memcpy(to.data(), left.data(), n);
    written.push_back(to.data());
    left = left.subspan(n);
    REQUIRE_FALSE(sink.filled(n));
  }
  const auto tensors = sink.take();
  REQUIRE(tensors);
  for (const Tensor& tensor : *tensors) {
    CHECK(reinterpret_cast<std::uintptr_t>(tensor.data_ptr()) % 64 == 0);
    const auto* begin = static_cast<const char*>(tensor.data_ptr());
    CHECK(std::ranges::any_of(written, [&](const void* p) { return p > begin && p < begin + tensor.nbytes(); }));
  }
}

TEST_CASE("Hivemind's requests, chunks and tensors are read") {
  SUBCASE("forward and backward") {
    TensorSink sink;
    feed(sink, from_hex(text(moe_vector("backward").at("request"))));
    CHECK(sink.uid() == "affine.5.7");
    const auto tensors = sink.take();
    REQUIRE(tensors);
    CHECK(same(*tensors, {torch::arange(8, at::kFloat).reshape({2, 4}), torch::ones({2, 4})}));
  }
  SUBCASE("a stream") {
    TensorSink sink;
    for (const auto& part : moe_vector("forward_stream").at("request")) feed(sink, from_hex(text(part)));
    CHECK(same(*sink.take(), {torch::arange(8, at::kFloat).reshape({2, 4})}));
  }
  SUBCASE("every element type and codec") {
    for (const auto& item : moe_vector("tensors").at("cases")) {
      TensorSink sink;
      feed(sink, skep::test::expert_message(from_hex(text(item.at("bytes")))));
      const auto tensors = sink.take();
      CAPTURE(item.at("dtype").get<std::string>());
      CAPTURE(item.at("compression").get<std::string>());
      REQUIRE(tensors);
      const auto expected = skep::test::tensor_of_json(item.at("decoded"));
      const auto& tensor = (*tensors)[0];
      REQUIRE(tensor.numel() == expected.numel());
      CHECK(at::equal(tensor.to(at::kDouble).flatten(), expected.flatten()));
      if (const auto dtype = dtype_of_name(item.at("dtype").get<std::string>()))
        CHECK((tensor.scalar_type() == *dtype));
    }
  }
}

TEST_CASE("fields in another order, unknown and repeated ones are read as protobuf says") {
  Bytes bytes;
  skep::append(bytes, from_hex("1a 02 4142"));                                      // metadata first
  put_tensor(bytes, "2207666c6f61743332 12020101 0a040000803f");                    // dtype, size, then the buffer
  skep::append(bytes, from_hex("0a 03 612e30"));                                    // uid last
  skep::append(bytes, from_hex("2a 01 00 30 05 39 0000000000000000 45 00000000"));  // unknown of every wire type
  put_tensor(bytes, "0a040000803f 1001 1001 2207666c6f61743332 4a0100");            // unpacked size, unknown at the end
  TensorSink sink;
  feed(sink, bytes, [] { return std::size_t{1}; });
  CHECK(sink.uid() == "a.0");
  CHECK(sink.metadata() == from_hex("4142"));
  CHECK(same(*sink.take(), {torch::ones({1, 1}), torch::ones({1, 1})}));
}

TEST_CASE("no tensors, an empty message and no message are nothing") {
  TensorSink sink;
  CHECK(sink.messages() == 0);
  feed(sink, {});
  CHECK(sink.messages() == 1);
  CHECK((*sink.take()).empty());
}

TEST_CASE("C3.3 uids that differ within a stream are refused") {
  TensorSink sink;
  feed(sink, message("a.0", {torch::ones({1})}));
  feed(sink, message("a.1", {torch::ones({1})}));
  CHECK_FALSE(sink.take());
  CHECK(sink.refusal() == "Expert uids differ in one request");
}

TEST_CASE("what is wrong with a message is a sentence, and the rest is skipped") {
  Bytes bytes;
  SUBCASE("cut after a chunk") {
    TensorSink sink;
    feed(sink, stream({}, {torch::ones({100})}, 64)[0]);
    CHECK(sink.take().error() == tensor_errc::incomplete);
    CHECK(sink.refusal() == "tensor 0: the tensor is incomplete");
  }
  SUBCASE("a new tensor before the end of the last") {
    TensorSink sink;
    feed(sink, stream({}, {torch::ones({100})}, 64)[0]);
    feed(sink, message({}, {torch::ones({1})}));
    CHECK(sink.take().error() == tensor_errc::incomplete);
  }
  SUBCASE("a chunk that belongs to nothing") {
    put_tensor(bytes, "0a040000803f");
    CHECK(refusal_of(bytes) == "tensor 0: a chunk belongs to no tensor: its first part with shape and type is missing");
  }
  SUBCASE("more bytes than the shape says") {
    put_tensor(bytes, "0a080000803f0000803f 12020101 2207666c6f61743332");
    CHECK(refusal_of(bytes) == "tensor 0: the tensor's buffer does not have the size that its shape says");
  }
  SUBCASE("an element type that is none") {
    put_tensor(bytes, "0a040000803f 12020101 220171");
    CHECK(refusal_of(bytes) == "tensor 0: the tensor's element type is unknown");
  }
  SUBCASE("a codec that is none") {
    put_tensor(bytes, "0a040000803f 12020101 2207666c6f61743332 2809");
    CHECK(refusal_of(bytes) == "tensor 0: the tensor's compression is unknown");
  }
  SUBCASE("a shape whose product overflows") {
    put_tensor(bytes, "12 0f ffffffff0f ffffffff0f ffffffff0f 2207666c6f61743332");
    CHECK(refusal_of(bytes).starts_with("tensor 0: a limit is exceeded"));
  }
  SUBCASE("a length that leaves the message") { CHECK(refusal_of(from_hex("12 05 0a 7f 00 00 00")).size() > 0); }
  SUBCASE("a group") { CHECK(refusal_of(from_hex("0b 0c")) == "the message is not a protobuf of tensors"); }
  SUBCASE("cut in a tag") { CHECK(refusal_of(from_hex("92")) == "the message is not a protobuf of tensors"); }
  SUBCASE("cut in a length") { CHECK(refusal_of(from_hex("12 80")) == "the message is not a protobuf of tensors"); }
}

TEST_CASE("limits hold before anything is allocated") {
  const Bytes two = message("a.0", {torch::ones({300}), torch::ones({300})});
  SUBCASE("a message") {
    TensorSink sink({.message = 100});
    CHECK(sink.start(101) == skep::errc::limit_exceeded);
    CHECK_FALSE(sink.start(100));
  }
  SUBCASE("all buffers together") {
    CHECK(refusal_of(two, {.total = 2399}) == "its tensors are larger than the limit of 2399 bytes");
    TensorSink sink({.total = 2400});
    feed(sink, two);
    CHECK(sink.take());
  }
  SUBCASE("the size that a first chunk announces") {
    TensorSink sink({.total = 1000});
    feed(sink, stream({}, {torch::ones({300})}, 64)[0]);
    CHECK(sink.refusal() == "its tensors are larger than the limit of 1000 bytes");
  }
  SUBCASE("what a small buffer decodes to") {
    const Bytes small = message({}, {torch::ones({1000}, at::kDouble)}, {Compression::uniform_8bit});
    CHECK(small.size() < 2200);
    CHECK(refusal_of(small, {.total = 7999}) == "its tensors are larger than the limit of 7999 bytes");
    TensorSink sink({.total = 8000});
    feed(sink, small);
    CHECK(sink.take());
  }
  SUBCASE("the number of tensors") { CHECK(refusal_of(two, {.tensors = 1}) == "more than 1 tensors in one message"); }
  SUBCASE("the small fields") {
    Bytes bytes;
    skep::codec::append_field_head(bytes, 1, 70'000);
    bytes.resize(bytes.size() + 70'000, 'a');
    CHECK(refusal_of(bytes) == "the message's fields are too long");
  }
}

TEST_CASE("a check refuses a tensor by its header with a sentence") {
  std::vector<std::string> seen;
  TensorSink sink({}, [&](std::string_view uid, std::size_t index, const TensorHeader& header) {
    seen.push_back(std::string(uid) + " " + std::to_string(index) + " " + std::to_string(header.size[0]));
    return index == 1 ? std::optional<std::string>("not this one") : std::nullopt;
  });
  for (const Bytes& bytes : stream("a.0", {torch::ones({10}), torch::ones({20}), torch::ones({30})}, 16)) {
    feed(sink, bytes);
  }
  CHECK(seen == std::vector<std::string>{"a.0 0 10", "a.0 1 20"});
  CHECK(sink.refusal() == "not this one");
  CHECK(sink.take().error() == skep::errc::invalid_argument);
}

TEST_CASE("a size hint lands the chunks of a tensor in place from the first on") {
  const auto x = torch::randn({100});
  TensorSink sink({}, {}, [](std::size_t) { return std::size_t{400}; });
  const void* first = nullptr;
  for (const Bytes& bytes : stream({}, {x}, 128)) {
    REQUIRE_FALSE(sink.start(bytes.size()));
    for (BytesView left = bytes; !left.empty();) {
      const auto to = sink.destination();
      if (to.size() > 64 && first == nullptr) first = to.data();
      const auto n = std::min(to.size(), left.size());
      std::memcpy(to.data(), left.data(), n);
      left = left.subspan(n);
      REQUIRE_FALSE(sink.filled(n));
    }
  }
  const auto tensors = sink.take();
  REQUIRE(tensors);
  CHECK(same(*tensors, {x}));
  const auto* begin = static_cast<const char*>((*tensors)[0].data_ptr());
  CHECK((first > begin && first < begin + 64));
}

TEST_CASE("bfloat16 of two bytes an element is recognised in a stream by the number of chunks") {
  const auto x = torch::randn({100}).to(at::kBFloat16);
  const Bytes raw(static_cast<const std::uint8_t*>(x.data_ptr()), static_cast<const std::uint8_t*>(x.data_ptr()) + 200);
  TensorSink sink;
  for (std::size_t at = 0; at < 200; at += 80) {
    Bytes tensor;
    const auto piece = BytesView(raw).subspan(at, std::min<std::size_t>(80, 200 - at));
    skep::codec::append_field_head(tensor, 1, piece.size());
    skep::append(tensor, piece);
    if (at == 0) skep::append(tensor, from_hex("120164 2208 62666c6f61743136 3003"));
    feed(sink, skep::test::expert_message(tensor));
  }
  CHECK(same(*sink.take(), {x}));
}

TEST_CASE("any bytes are read or refused, never more than bounded memory") {
  skep::Random random(7);
  const Bytes good = message("ffn.1.2", samples());
  for (int i = 0; i < 3000; ++i) {
    Bytes bytes = good;
    const auto changes = 1 + random.below(4);
    for (std::uint64_t c = 0; c < changes; ++c) {
      bytes[random.below(bytes.size())] = static_cast<std::uint8_t>(random());
    }
    bytes.resize(random.below(2) == 0 ? bytes.size() : random.below(bytes.size()));
    TensorSink sink({.total = 1 << 20});
    feed(sink, bytes, [&] { return 1 + random.below(300); });
    const bool ok = sink.take().has_value();
    CHECK(ok == sink.refusal().empty());
  }
}
