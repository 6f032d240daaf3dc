#include "skep/moe/client/remote_expert.hpp"

#include <torch/nn/modules/container/sequential.h>

#include <atomic>
#include <chrono>
#include <sstream>
#include <thread>

#include "moe/client/swarm.hpp"
#include "moe/server/experts.hpp"
// doctest comes last
#include <doctest/doctest.h>

using namespace skep::moe;
using skep::Error;
using skep::RemoteError;
using torch::Tensor;
using namespace std::chrono_literals;

namespace {

skep::moe::BackendOptions width(int64_t hidden_dim, OptimizerFactory optimizer = nullptr) {
  return {.expert = {.hidden_dim = hidden_dim}, .optimizer = std::move(optimizer)};
}

template <class Call>
std::string words_of(Call call) {
  try {
    call();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

/// A server with one expert of each kind, and a client.
struct Pair {
  explicit Pair(skep::moe::BackendOptions options = width(64)) : server({}, std::move(options)) {}
  skep::dht::DHT& start() {
    server.start();
    return client.emplace(skep::test::client_of(server));
  }
  skep::test::ExpertServer server;
  std::optional<skep::dht::DHT> client;
};

}  // namespace

TEST_CASE("a remote expert computes and differentiates as the same module held locally, to 1e-6") {
  Pair pair;
  auto& backend = pair.server.add<FeedforwardBlock>("ffn.0");
  auto& dht = pair.start();
  const auto experts = get_experts(dht, {"ffn.0"});
  REQUIRE(experts.size() == 1);
  auto expert = experts[0];
  REQUIRE(expert);
  CHECK(expert->uid() == "ffn.0");
  CHECK(expert->peer_id() == pair.server.dht().peer_id());

  torch::manual_seed(1);
  const Tensor x = torch::randn({16, 64});
  const Tensor here = x.clone().requires_grad_();
  const Tensor there = x.clone().requires_grad_();
  const Tensor weights = torch::randn({16, 64});
  const Tensor local = backend.module()->forward(here);
  const Tensor remote = expert->forward(there);
  CHECK((local - remote).abs().max().item<float>() < 1e-6);
  (local * weights).sum().backward();
  (remote * weights).sum().backward();
  CHECK((here.grad() - there.grad()).abs().max().item<float>() < 1e-6);
}

TEST_CASE("B2.4 an expert learns even where no input requires a gradient") {
  Pair pair(width(4, sgd(0.5)));
  auto& backend = pair.server.add<Scale>("scale.0");
  auto& dht = pair.start();
  auto expert = get_experts(dht, {"scale.0"})[0];
  const Tensor before = backend.module()->w.detach().clone();
  const Tensor y = expert->forward(torch::ones({2, 4}));
  CHECK(y.requires_grad());
  y.sum().backward();
  CHECK(backend.update_count() == 1);
  CHECK((before - 0.5 * 2).allclose(backend.module()->w));
}

TEST_CASE("a signature with several inputs and outputs, whole numbers among them") {
  Pair pair(width(3));
  pair.server.add<TwoWays>("two.0");
  pair.server.add<Gated>("gated.0");
  auto& dht = pair.start();
  auto two = get_experts<std::tuple<Tensor, Tensor>(Tensor, Tensor)>(dht, {"two.0"})[0];
  const Tensor x = torch::rand({2, 3}).requires_grad_();
  const Tensor index = torch::tensor({{3}, {5}});
  const auto [product, negative] = two->forward(x, index);
  CHECK(product.equal(x * index));
  CHECK(negative.equal(-x));
  (product + negative).sum().backward();
  CHECK(x.grad().equal((index - 1).expand({2, 3}).to(torch::kFloat)));

  auto gated = get_experts<Tensor(Tensor, Tensor)>(dht, {"gated.0"})[0];
  CHECK(gated->forward(x, x).sizes() == x.sizes());
  auto wrong = get_experts<Tensor(Tensor, Tensor)>(dht, {"two.0"})[0];
  CHECK(words_of([&] { (void)wrong->forward(x, index); }) ==
        "skep: the expert answers with 2 tensors, its signature here says 1");
}

TEST_CASE("B2.3 inputs that do not fit are refused before they are sent") {
  Pair pair;
  pair.server.add<FeedforwardBlock>("ffn.2.3");
  auto& dht = pair.start();
  auto expert = get_experts(dht, {"ffn.2.3"})[0];
  CHECK(words_of([&] { (void)expert->forward(torch::zeros({16, 65})); }) ==
        "skep: expert ffn.2.3 refused the request: input 0 is float32[16, 65], expected float32[batch, 64]");
  CHECK(words_of([&] {
          (void)expert->forward(torch::zeros({16, 64}, torch::kDouble));
        }).find("input 0 is float64[16, 64]") != std::string::npos);
  CHECK(words_of([&] { (void)expert->forward(torch::zeros({64})); }).find("input 0 is float32[64]") !=
        std::string::npos);
  CHECK(words_of([&] { (void)expert->forward(torch::zeros({0, 64})); }).find("more than 0 samples") !=
        std::string::npos);
  CHECK(expert->forward(torch::zeros({1, 64})).sizes() == at::IntArrayRef({1, 64}));  // and goes on
}

TEST_CASE("B2.7 what the expert says itself is told with its name, and the server goes on") {
  Pair pair(width(4));
  pair.server.add<Touchy>("touchy.0");
  auto& dht = pair.start();
  auto expert = get_experts(dht, {"touchy.0"})[0];
  const std::string peer = pair.server.dht().peer_id().to_string();
  try {
    (void)expert->forward(-torch::ones({2, 4}));
    FAIL("nothing was thrown");
  } catch (const RemoteError& error) {
    CHECK(std::string(error.what()).starts_with("skep: expert touchy.0 on " + peer + " answered with an error: "));
    CHECK(error.text().find("a negative sample") != std::string::npos);
  }
  CHECK(expert->forward(torch::ones({2, 4})).equal(torch::ones({2, 4})));
  RemoteExpert<> unknown({"touchy.7", pair.server.dht().peer_id()}, dht);
  CHECK(words_of([&] { (void)unknown->forward(torch::ones({2, 4})); }).find("touchy.7") != std::string::npos);
}

TEST_CASE("B3.3 an expert that nobody serves is an empty holder") {
  Pair pair(width(4));
  pair.server.add<Nop>("nop.0");
  auto& dht = pair.start();
  const auto experts = get_experts(dht, {"nop.1", "nop.0", "no uid"});
  CHECK_FALSE(experts[0]);
  CHECK(experts[1]);
  CHECK_FALSE(experts[2]);
}

TEST_CASE("large inputs and outputs travel as a stream") {
  Pair pair(width(1024));
  pair.server.add<Nop>("nop.0");
  auto& dht = pair.start();
  auto expert = get_experts(dht, {"nop.0"})[0];
  const Tensor x = torch::rand({2048, 1024}).requires_grad_();  // 8 MiB
  const Tensor y = expert->forward(x);
  CHECK(y.equal(x));
  (y * y.detach()).sum().backward();
  CHECK(x.grad().equal(x.detach()));
}

TEST_CASE("a server that does not answer costs the deadline, not more") {
  Pair pair(width(4));
  pair.server.add<Nop>("nop.0");
  auto& dht = pair.start();
  pair.server.hang();
  RemoteExpert<> expert({"nop.0", pair.server.dht().peer_id()}, dht, {.forward_timeout = 200ms});
  const auto start = std::chrono::steady_clock::now();
  const std::string words = words_of([&] { (void)expert->forward(torch::ones({2, 4})); });
  const auto took = std::chrono::steady_clock::now() - start;
  CHECK(words.find("within 200 ms") != std::string::npos);
  CHECK(took >= 200ms);
  CHECK(took < 2s);
}

TEST_CASE("the awaitable form, on the DHT's thread") {
  Pair pair(width(4));
  pair.server.add<Scale>("scale.0");
  auto& dht = pair.start();
  auto expert = get_experts(dht, {"scale.0"})[0];
  const Tensor x = torch::ones({2, 4});
  const Tensor y = dht.run_coroutine([&](auto) -> skep::awaitable<Tensor> { co_return co_await expert->call(x); });
  CHECK(y.equal(torch::linspace(1, 2, 4).expand({2, 4})));
  CHECK_FALSE(y.requires_grad());
}

TEST_CASE("a blocking call on an I/O thread throws instead of waiting for itself") {
  Pair pair(width(4));
  pair.server.add<Nop>("nop.0");
  auto& dht = pair.start();
  auto expert = get_experts(dht, {"nop.0"})[0];
  std::error_code code;
  dht.run_coroutine([&](auto) -> skep::awaitable<void> {
    try {
      (void)expert->forward(torch::ones({2, 4}));
    } catch (const Error& error) {
      code = error.code();
    }
    co_return;
  });
  CHECK(code == make_error_code(skep::errc::wrong_thread));
  dht.shutdown();
  CHECK(words_of([&] { (void)expert->forward(torch::ones({2, 4})); }) == "skep: the DHT is closed");
}

TEST_CASE("several threads use one expert at once") {
  Pair pair(width(8));
  pair.server.add<Scale>("scale.0");
  auto& dht = pair.start();
  auto expert = get_experts(dht, {"scale.0"})[0];
  std::vector<std::thread> threads;
  std::atomic<int> right = 0;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 20; ++i) {
        const Tensor x = torch::full({3, 8}, static_cast<float>(t * 100 + i)).requires_grad_();
        const Tensor y = expert->forward(x);
        y.sum().backward();
        const Tensor w = torch::linspace(1, 2, 8);
        right += y.allclose(x * w) && x.grad().allclose(w.expand({3, 8})) ? 1 : 0;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(right == 80);
}

TEST_CASE("B5.2 with detect_anomalies values that are not finite are an error") {
  Pair pair(width(4));
  pair.server.add<Scale>("scale.0");
  auto& dht = pair.start();
  auto expert = get_experts(dht, {"scale.0"}, {.detect_anomalies = true})[0];
  CHECK(words_of([&] { (void)expert->forward(torch::full({2, 4}, std::nanf(""))); }) ==
        "skep: one of the inputs has nan/inf values");
  const Tensor y = expert->forward(torch::ones({2, 4}));
  CHECK(words_of([&] { (y * std::nanf("")).sum().backward(); }) == "skep: one of the gradients has nan/inf values");
}

TEST_CASE("a remote expert stands in a Sequential and prints itself") {
  Pair pair(width(4));
  pair.server.add<Scale>("scale.0");
  auto& dht = pair.start();
  torch::nn::Sequential net(torch::nn::Linear(4, 4), get_experts(dht, {"scale.0"})[0]);
  CHECK(net->forward(torch::ones({2, 4})).sizes() == at::IntArrayRef({2, 4}));
  CHECK(net->parameters().size() == 2);
  std::ostringstream text;
  text << net;
  CHECK(text.str().find("RemoteExpert(scale.0 on 12D3") != std::string::npos);
}
