// Hivemind 1.1.12 trains through skep: remote experts and mixtures with every codec, keyword and nested inputs,
// requests of 32 MiB, and a module exported from Python that the command skep-server serves.
#include <array>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <tuple>
#include <vector>

#include "skep/dht/dht.hpp"
#include "skep/moe/server/layers.hpp"
#include "skep/moe/server/module_backend.hpp"
#include "skep/moe/server/server.hpp"
#include "support/coroutine.hpp"
#include "support/driver.hpp"
// doctest comes last: LibTorch's CHECK must not hide its own
#include <doctest/doctest.h>

using nlohmann::json;
using skep::dht::DHT;
using skep_test::Driver;
using torch::Tensor;
using namespace skep::moe;  // NOLINT(*-using-namespace)

struct NestedImpl : torch::nn::Module {
  [[nodiscard]] TensorTree forward(const Tensor& x, const TensorTree& context, const Tensor& scale) {
    const auto& [gain, shift] = std::tie(context.items()[0].leaf(), context.items()[1].leaf());
    return TensorTree::dict({"both", "sum"}, {TensorTree::tuple({x * gain, x * scale}), x + shift});
  }
};
TORCH_MODULE(Nested);
template <>
struct skep::moe::Expert<Nested> {
  static constexpr auto name = "nested";
  static constexpr std::array keyword_names{"scale"};
  static auto make(const ExpertOptions&) { return Nested(); }
  static auto sample(const ExpertOptions& o) {
    const Tensor one = row(o.hidden_dim);
    return std::tuple{one, TensorTree::dict({"gain", "shift"}, {one, one}), one};
  }
};

namespace {

constexpr int64_t width = 16;
/// Hivemind's own BLOCKWISE_8BIT needs a GPU library, so that codec is held against recorded bytes elsewhere.
constexpr std::array tried{Compression::none, Compression::float16, Compression::meanstd_16bit,
                           Compression::uniform_8bit, Compression::quantile_8bit};

std::string prefix_of(Compression codec) { return "codec" + std::to_string(static_cast<int>(codec)) + "."; }

/// Two experts whose tensors travel by this codec.
ExpertGroup with_codec(Compression codec) {
  return {.expert_uids = {prefix_of(codec) + "0", prefix_of(codec) + "1"},
          .expert = {.hidden_dim = width},
          .make = [codec](const std::string& uid, BackendOptions options) {
            options.compression = codec;
            return std::make_shared<ModuleBackend<Ffn>>(uid, options);
          }};
}

void check_fit(const json& fitted) {
  CAPTURE(fitted.dump());
  CHECK(fitted.at("finite").get<bool>());
  CHECK(fitted.at("last").get<double>() < 0.7 * fitted.at("first").get<double>());
}

}  // namespace

CO_TEST_CASE("Hivemind trains through skep: every codec, keyword and nested inputs, 32 MiB streamed, TorchScript") {
  DHT dht({.host_maddrs = {"/ip4/127.0.0.1/tcp/0"}});
  std::vector<ExpertGroup> groups{
      {.expert_cls = "nop", .expert_uids = {"wide.0"}, .expert = {.hidden_dim = 1024}},
      {.expert_cls = "nested", .expert_uids = {"nested.0"}, .expert = {.hidden_dim = width}}};
  for (const Compression codec : tried) groups.push_back(with_codec(codec));
  Server<Nop, Nested> server(dht, {.experts = std::move(groups), .optimizer = adam(1e-2), .max_batch_size = 16384});
  server.start();
  Driver hivemind(co_await skep::this_executor, "train_driver.py");
  const json peers{{"peers", dht.visible_maddrs()}};
  co_await hivemind("join", peers);

  for (const Compression codec : tried) {
    const std::string prefix = prefix_of(codec);
    const json which{{"uid", prefix + "0"}};
    const json travel = co_await hivemind("codecs", which);
    CHECK(travel == json{static_cast<int>(codec), static_cast<int>(codec)});
    const json alone{{"uid", prefix + "0"}, {"width", width}, {"steps", 25}};
    const json fitted = co_await hivemind("train", alone);
    check_fit(fitted);
    CHECK(server.experts().at(prefix + "0")->update_count() == 25);
    const json together{{"prefix", prefix}, {"grid_size", {2}}, {"width", width}, {"steps", 8}};
    const json mixed = co_await hivemind("mixture", together);
    check_fit(mixed);
    CHECK(server.experts().at(prefix + "1")->update_count() >= 8);
  }

  const json nested{{"uid", "nested.0"}, {"width", width}};
  const json answer = co_await hivemind("nested", nested);
  CHECK(answer.at("keyword_names") == json{"scale"});
  for (const char* part : {"outputs", "gradients"}) {
    for (const auto& distance : answer.at(part)) CHECK(distance.get<double>() < 1e-5);
  }

  const json large{{"uid", "wide.0"}, {"rows", 8192}, {"width", 1024}};
  const json echo = co_await hivemind("stream", large);
  CHECK(echo == json{0.0, 0.0});

  const json exported{
      {"program", skep_test::from_environment("SKEP_COMMANDS_DIR") + "/skep-server"}, {"width", width}, {"steps", 25}};
  const json served = co_await hivemind("torchscript", exported);
  CHECK(served.at("module") == "block.0: Block, 1072 parameters");
  CHECK(served.at("same").get<double>() < 1e-6);
  check_fit(served.at("fitted"));
  CHECK(served.at("steps") == 25);
  CHECK(served.at("code") == 0);
  CHECK(served.at("shutdown").get<bool>());
  CHECK(served.at("checkpoints") == json{"block.0"});
  server.shutdown();
}
