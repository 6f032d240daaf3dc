#include "skep/moe/tensor/serialize.hpp"

#include "moe/tensor/support.hpp"
// doctest comes last: LibTorch's CHECK must not hide its own
#include <doctest/doctest.h>

using namespace skep::moe;  // NOLINT(*-using-namespace)
using skep::to_hex;
using skep::test::from_hex;
using skep::test::moe_vector;
using skep::test::text;

namespace {
std::string hex(skep::p2p::Payload payload) { return to_hex(std::move(payload).flatten()); }
Tensor affine_input() { return torch::arange(8, at::kFloat).reshape({2, 4}); }
}  // namespace

TEST_CASE("an ExpertRequest and its response have Hivemind's bytes") {
  const auto& forward = moe_vector("forward");
  const auto x = affine_input();
  const auto y = x * torch::tensor({1., 2., 3., 4.}, at::kFloat);
  CHECK(hex(tensor_message("affine.5.7", std::vector{x})) == text(forward.at("request")));
  CHECK(hex(tensor_message({}, std::vector{y})) == text(forward.at("response")));
  const auto& backward = moe_vector("backward");
  CHECK(hex(tensor_message("affine.5.7", std::vector{x, torch::ones({2, 4})})) == text(backward.at("request")));
}

TEST_CASE("a streamed request and response have Hivemind's bytes") {
  const auto& stream = moe_vector("forward_stream");
  const auto x = affine_input();
  const auto request = tensor_stream("affine.5.7", std::vector{x}, {}, 5);
  REQUIRE(request.size() == stream.at("request").size());
  for (std::size_t i = 0; i < request.size(); ++i) CHECK(hex(request[i]) == text(stream.at("request")[i]));
  const auto response = tensor_stream({}, std::vector{x * torch::tensor({1., 2., 3., 4.}, at::kFloat)});
  REQUIRE(response.size() == 1);
  CHECK(hex(response[0]) == text(stream.at("response")[0]));
}

TEST_CASE("E-7 chunks have Hivemind's bytes, an empty tensor is one part") {
  const auto& chunks = moe_vector("chunks");
  const auto check = [](const Tensor& tensor, const nlohmann::json& expected) {
    const auto messages = tensor_stream({}, std::vector{tensor}, {}, 12);
    REQUIRE(messages.size() == expected.size());
    for (std::size_t i = 0; i < messages.size(); ++i) {
      CHECK(hex(messages[i]) == to_hex(skep::test::expert_message(from_hex(text(expected[i])))));
    }
  };
  check(torch::arange(7, at::kFloat), chunks.at("seven"));
  check(torch::empty({0, 2}), chunks.at("empty"));
}

TEST_CASE("Tensor messages of every element type have Hivemind's bytes with NONE and FLOAT16") {
  std::size_t seen = 0;
  for (const auto& item : moe_vector("tensors").at("cases")) {
    const auto compression = *compression_of_name(item.at("compression").get<std::string>());
    if (compression != Compression::none && compression != Compression::float16) continue;
    const auto dtype = item.at("dtype").get<std::string>();
    CAPTURE(dtype);
    auto tensor = skep::test::tensor_of_json(item.at("source"));
    if (dtype == "empty") tensor = tensor.reshape({0, 2});
    if (dtype == "empty dim 0") tensor = tensor.reshape({0});
    const auto type = dtype_of_name(dtype);
    tensor = tensor.to(type ? *type : at::kFloat);
    const auto expected = item.at("bytes").get<std::string>();
    const auto message = tensor_message({}, std::vector{tensor}, std::vector{compression});
    if (dtype.starts_with("empty")) {  // the vectors' own shapes
      CHECK(to_hex(skep::test::expert_message(from_hex(expected))).size() > 0);
    } else {
      CHECK(hex(message) == to_hex(skep::test::expert_message(from_hex(expected))));
    }
    ++seen;
  }
  CHECK(seen >= 14);
}

TEST_CASE("large tensors leave from their own storage, which the payload keeps alive") {
  auto x = torch::arange(1024, at::kFloat);
  const void* storage = x.data_ptr();
  auto payload = tensor_message("a.0", std::vector{x, x.t()});
  const auto lies_there = [&](const skep::p2p::Segment& s) {
    return s.bytes.data() == storage && s.bytes.size() == 4096;
  };
  CHECK(std::ranges::count_if(payload.segments(), lies_there) == 2);
  x = Tensor();
  const std::size_t size = payload.size();
  CHECK(size == std::move(payload).flatten().size());
}

TEST_CASE("non-contiguous tensors and those that require gradients are sent as values") {
  const auto x = torch::arange(6, at::kFloat).reshape({2, 3}).t().requires_grad_();
  skep::moe::TensorSink sink;
  skep::test::feed(sink, tensor_message("a.0", std::vector{x}).flatten());
  const auto back = sink.take();
  REQUIRE(back);
  CHECK(at::equal((*back)[0], x));
  CHECK((*back)[0].requires_grad());
}

TEST_CASE("a codec that the element type does not take is named with the tensor") {
  try {
    (void)tensor_message("a.0", std::vector{torch::ones({1}), torch::ones({1}, at::kLong)},
                         std::vector{Compression::float16, Compression::float16});
    FAIL("nothing was thrown");
  } catch (const skep::Error& e) {
    CHECK(e.code() == tensor_errc::not_floating);
    CHECK(std::string(e.what()).starts_with("skep: tensor 1 cannot be sent: "));
  }
}

TEST_CASE("E-7: with every codec a stream is the same tensor however it is chunked") {
  const auto x = torch::arange(9000, at::kFloat).reshape({3, 3000}).sin();
  for (int codec = 0; codec < 6; ++codec) {
    const std::vector codecs(1, static_cast<Compression>(codec));
    CAPTURE(name_of(codecs[0]));
    skep::moe::TensorSink whole;
    skep::test::feed(whole, tensor_message("a.0", std::vector{x}, codecs).flatten());
    const auto expected = whole.take();
    REQUIRE(expected);
    for (const std::size_t chunk : {5U, 1000U, 65536U}) {
      skep::moe::TensorSink sink;
      for (auto& message : tensor_stream("a.0", std::vector{x}, codecs, chunk)) {
        skep::test::feed(sink, std::move(message).flatten());
      }
      const auto back = sink.take();
      REQUIRE(back);
      CHECK(at::equal((*back)[0], (*expected)[0]));
    }
  }
}
