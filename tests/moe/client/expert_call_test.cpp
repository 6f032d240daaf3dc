#include "skep/moe/client/expert_call.hpp"

#include <limits>

#include "skep/sim/network.hpp"
#include "support/experts.hpp"
#include "support/vectors.hpp"
// doctest comes last
#include <doctest/doctest.h>

using namespace skep;
using moe::BatchTensorDescriptor;
using moe::ExpertAnswer;
using moe::ExpertContract;
using moe::Tensor;
using skep_test::vector_bytes;
using skep_test::vector_list;

namespace {

ExpertContract contract(std::vector<int64_t> in, std::vector<int64_t> out) {
  moe::ExpertSchema schema;
  schema.args = moe::SchemaTree::tuple({BatchTensorDescriptor{.size = std::move(in)}});
  schema.outputs = BatchTensorDescriptor{.size = std::move(out)};
  return ExpertContract(std::move(schema));
}
const moe::ExpertInfo expert{"ffn.0", test::peer(1)};

void feed(p2p::AnyBodySink& sink, BytesView message) {
  REQUIRE_FALSE(sink.start(message.size()));
  while (!message.empty()) {
    const MutableBytes to = sink.destination();
    const std::size_t n = std::min(to.size(), message.size());
    std::copy_n(message.begin(), n, to.begin());
    REQUIRE_FALSE(sink.filled(n));
    message = message.subspan(n);
  }
}

}  // namespace

TEST_CASE("B2.5 B2.6 requests are, byte for byte, those of Hivemind's RemoteExpert") {
  const auto recorded = vector_list("moe", "remote_expert", "requests");
  const ExpertContract shape = contract({4}, {4});
  moe::TensorSink sink;
  feed(sink, recorded[0]);
  const std::string uid = sink.uid();
  const auto inputs = sink.take();
  REQUIRE(inputs);
  auto forward = moe::prepare_forward({uid, test::peer(1)}, shape, *inputs);
  CHECK(forward.call.method == "ConnectionHandler.rpc_forward");
  CHECK(std::move(forward.call.messages.at(0)).flatten() == recorded[0]);
  const std::vector<Tensor> gradients{torch::ones({2, 4})};
  auto backward = moe::prepare_backward({uid, test::peer(1)}, shape, *inputs, gradients);
  CHECK(backward.call.method == "ConnectionHandler.rpc_backward");
  CHECK(std::move(backward.call.messages.at(0)).flatten() == recorded[1]);
}

TEST_CASE("Hivemind's answers are taken, unary and streamed") {
  const ExpertContract shape = contract({4}, {4});
  const std::vector<Tensor> inputs{torch::arange(8, torch::kFloat).view({2, 4})};
  const Tensor expected = inputs[0] * torch::tensor({1.0F, 2.0F, 3.0F, 4.0F});
  SUBCASE("unary") {
    auto prepared = moe::prepare_forward(expert, shape, inputs);
    feed(*prepared.call.sink, vector_bytes("moe", "forward", "response"));
    CHECK_FALSE(prepared.call.accept());
    CHECK(prepared.answer->tensors().at(0).equal(expected));
  }
  SUBCASE("stream") {
    auto prepared = moe::prepare_forward(expert, shape, inputs);
    for (const auto& message : vector_list("moe", "forward_stream", "response")) feed(*prepared.call.sink, message);
    CHECK_FALSE(prepared.call.accept());
    CHECK(prepared.answer->tensors().at(0).equal(expected));
  }
}

TEST_CASE("B2.5 inputs above 2 MiB and answers that may be above 4 MiB travel as a stream") {
  const auto method = [](int64_t in, int64_t out, int64_t batch) {
    const auto prepared =
        moe::prepare_forward(expert, contract({in}, {out}), std::vector<Tensor>{torch::zeros({batch, in})});
    CHECK(prepared.call.streaming == prepared.call.method.ends_with("_stream"));
    return prepared.call.streaming;
  };
  CHECK_FALSE(method(1024, 1024, 512));  // exactly 2 MiB each
  CHECK(method(1024, 1024, 513));
  CHECK_FALSE(method(16, 4096, 240));
  CHECK(method(16, 4096, 256));  // H-3: a small request with a large answer
}

TEST_CASE("an answer that is not what was asked for is a failure with a sentence") {
  const ExpertContract shape = contract({4}, {3});
  const auto judge = [&](const std::vector<Tensor>& answer, bool finite = false) {
    auto prepared = moe::prepare_forward(expert, shape, std::vector<Tensor>{torch::zeros({2, 4})}, {.finite = finite});
    feed(*prepared.call.sink, moe::tensor_message({}, answer).flatten());
    return prepared.call.accept().value_or("");
  };
  CHECK(judge({torch::zeros({2, 3})}).empty());
  CHECK(judge({torch::zeros({3, 3})}).find("tensor 0 is float32[3, 3], expected float32[2, 3]") != std::string::npos);
  CHECK(judge({torch::zeros({2, 3}, torch::kDouble)}).find("expected float32[2, 3]") != std::string::npos);
  CHECK(judge({}) == "expert ffn.0 answered with 0 tensors, expected 1");
  CHECK(judge({torch::zeros({2, 3}), torch::zeros({2, 3})}).find("expert ffn.0") == 0);
  const Tensor nan = torch::full({2, 3}, std::numeric_limits<float>::quiet_NaN());
  CHECK(judge({nan}).empty());
  CHECK(judge({nan}, true) == "expert ffn.0 answered with nan/inf values");
}

TEST_CASE("a request says for how long its answer is worth computing, where that is limited") {
  const auto metadata_of = [](Duration patience) {
    auto prepared = moe::prepare_forward(expert, contract({4}, {4}), std::vector<Tensor>{torch::zeros({2, 4})},
                                         {.patience = patience});
    prepared.call.attach_metadata();
    moe::TensorSink received;
    feed(received, std::move(prepared.call.messages.front()).flatten());
    CHECK(received.uid() == expert.uid);
    return moe::RequestMetadata::decode(received.metadata()).timeout;
  };
  CHECK(metadata_of(1500ms) == std::optional<Duration>(1750ms));  // the caller gives up first
  CHECK_FALSE(metadata_of(unlimited));
}

TEST_CASE("an answer larger than it may be is refused before it is kept") {
  auto prepared = moe::prepare_forward(expert, contract({4}, {3}), std::vector<Tensor>{torch::zeros({2, 4})});
  feed(*prepared.call.sink, moe::tensor_message({}, std::vector<Tensor>{torch::zeros({1024, 1024})}).flatten());
  CHECK(prepared.call.accept().value_or("").find("larger than the limit") != std::string::npos);
}

TEST_CASE("B2.2 the schema is asked from the expert, once, and read") {
  sim::World world;
  sim::Host server(world);
  sim::Host client(world);
  Bytes info = vector_bytes("moe", "info_affine.5.7", "bytes");
  std::string asked;
  server.handle("ConnectionHandler.rpc_info", [&](p2p::Request request) -> awaitable<p2p::Payload> {
    asked = codec::ExpertUID::decode(request.body)->uid;
    co_return p2p::Payload(codec::ExpertInfo{info}.encode());
  });
  world.run([&]() -> awaitable<void> {
    const auto found = co_await moe::fetch_contract(client, {"affine.5.7", server.self()});
    CHECK(asked == "affine.5.7");
    REQUIRE(found->inputs.size() == 1);
    CHECK(found->inputs[0].size == std::vector<int64_t>{4});
    CHECK(found->outputs[0].to_string() == "float32[batch, 4]");
    info.resize(40);
    std::string words;
    try {
      co_await moe::fetch_contract(client, {"affine.5.7", server.self()});
    } catch (const Error& error) {
      words = error.what();
    }
    CHECK(words.find("describes itself in a way that cannot be read") != std::string::npos);
  }());
}
