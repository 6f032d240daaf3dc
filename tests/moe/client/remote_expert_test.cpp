#include "skep/moe/client/remote_expert.hpp"

#include <torch/nn/modules/container/sequential.h>
#include <torch/optim/sgd.h>
#include <torch/serialize.h>

#include <atomic>
#include <chrono>
#include <future>
#include <optional>
#include <sstream>
#include <thread>

#include "moe/client/swarm.hpp"
#include "moe/server/experts.hpp"
#include "support/words_of.hpp"
// doctest comes last
#include <doctest/doctest.h>

using namespace skep::moe;
using skep::Error;
using skep::RemoteError;
using skep::test::words_of;
using torch::Tensor;
using namespace std::chrono_literals;

namespace {

skep::moe::BackendOptions width(int64_t hidden_dim, OptimizerFactory optimizer = nullptr) {
  return {.expert = {.hidden_dim = hidden_dim}, .optimizer = std::move(optimizer)};
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

TEST_CASE("B2.3 inputs by name, in any order, reach the parameters of the server and so do their gradients") {
  Pair pair(width(4));
  pair.server.add<Keywords>("keywords.0");
  auto& dht = pair.start();
  using Both = std::tuple<Tensor, Tensor>;
  auto expert = get_experts<std::tuple<Tensor, Both>(Both, Keyword, Keyword)>(dht, {"keywords.0"})[0];
  const Tensor x = torch::rand({2, 4}).requires_grad_();
  const Tensor whole = torch::ones({2, 2}, torch::kLong);
  const Tensor zeta = torch::rand({2, 4}).requires_grad_();
  const Tensor alpha = torch::rand({2, 1}).requires_grad_();
  const auto [product, rest] = expert->forward({x, whole}, kw("zeta", zeta), kw("alpha", alpha));
  CHECK(product.equal(x * zeta));
  CHECK(std::get<0>(rest).equal(alpha + 1));
  CHECK(std::get<1>(rest).equal(whole));
  (product.sum() + 3 * std::get<0>(rest).sum()).backward();
  CHECK(x.grad().equal(zeta));
  CHECK(zeta.grad().equal(x));
  CHECK(alpha.grad().equal(torch::full({2, 1}, 3.F)));

  const auto again =
      dht.run_coroutine([&](auto) { return expert->call({x, whole}, kw("alpha", alpha), kw("zeta", zeta)); });
  CHECK(std::get<0>(again).equal(product));
}

TEST_CASE("B2.3 H-13 an expert that is known at run time only: trees in and out, checked before they are sent") {
  Pair pair(width(4));
  using Module = torch::nn::ModuleHolder<NamedImpl>;
  auto& dht = pair.start();
  const auto sample = TensorTree::dict({"right", "left"}, {row(4), TensorTree::tuple({row(4), row(2, at::kLong)})});
  pair.server.replace("named.0",
                      std::make_shared<ModuleBackend<Module>>("named.0", Module(), sample, pair.server.options(4)));
  RemoteExpert<TensorTree> expert({"named.0", pair.server.dht().peer_id()}, dht);
  const Tensor left = torch::rand({3, 4}).requires_grad_();
  const Tensor right = torch::rand({3, 4}).requires_grad_();
  const Tensor whole = torch::ones({3, 2}, at::kLong);
  const auto input = TensorTree::dict({"right", "left"}, {right, TensorTree::tuple({left, whole})});
  const TensorTree output = expert->forward(input);
  REQUIRE(output.kind() == TensorTree::Kind::dict);
  REQUIRE(output.keys() == std::vector<std::string>{"sum", "index"});
  CHECK(output.items()[0].leaf().equal(left + right));
  CHECK(output.items()[1].leaf().equal(whole));
  (output.items()[0].leaf() * left.detach()).sum().backward();
  CHECK(left.grad().equal(left.detach()));
  CHECK(right.grad().equal(left.detach()));
  const TensorTree same = dht.run_coroutine([&](auto) { return expert->call(input); });
  CHECK(same.items()[0].leaf().equal(left + right));
  CHECK(words_of([&] { (void)expert->forward(left, right); }) ==
        "skep: expert named.0 refused the request: its inputs are (float32[3, 4], float32[3, 4]), expected "
        "({\"right\": float32[batch, 4], \"left\": (float32[batch, 4], int64[batch, 2])})");
  RemoteExpert<TensorTree(TensorTree)> typed({"named.0", pair.server.dht().peer_id()}, dht);
  CHECK(typed(input).items()[1].leaf().equal(whole));
}

TEST_CASE("an expert at an address needs no DHT, only a host whose thread somebody runs") {
  Pair pair(width(4));
  pair.server.add<Scale>("scale.0");
  pair.start();
  asio::io_context io;
  auto work = asio::make_work_guard(io);
  skep::p2p::Host host(io);
  std::thread thread([&] { io.run(); });
  const std::string address = pair.server.addresses().front();
  {
    RemoteExpert<> expert(host, address, "scale.0");
    CHECK(expert->peer_id() == pair.server.dht().peer_id());
    const Tensor x = torch::ones({2, 4}).requires_grad_();
    const Tensor y = expert->forward(x);
    CHECK(y.equal(torch::linspace(1, 2, 4).expand({2, 4})));
    y.sum().backward();
    CHECK(x.grad().equal(torch::linspace(1, 2, 4).expand({2, 4})));
    std::promise<std::string> inside;
    asio::post(io, [&] { inside.set_value(words_of([&] { (void)expert->forward(x); })); });
    CHECK(inside.get_future().get().find("was called from the thread that it would wait for") != std::string::npos);
    pair.server.kill();
    CHECK_THROWS_AS((void)expert->forward(x), Error);  // nobody tells of a replica
  }
  const std::string peerless = address.substr(0, address.find("/p2p/"));
  CHECK(words_of([&] {
          const RemoteExpert<> nobody(host, peerless, "scale.0");
        }).find("does not name its peer; it must end in /p2p/") != std::string::npos);
  CHECK(words_of([&] { const RemoteExpert<> nobody(host, address, "scale"); }).find("is not an expert uid") !=
        std::string::npos);
  asio::post(io, [&] { host.close(); });
  work.reset();
  thread.join();
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

TEST_CASE("B3.1 B3.2 modules for rows of experts, at once or for what is still being looked up") {
  Pair pair(width(4));
  pair.server.add<Nop>("nop.0");
  auto& dht = pair.start();
  const ExpertInfo found{"nop.0", pair.server.dht().peer_id()};
  const auto rows = batch_create_remote_experts({{found, std::nullopt}, {}, {std::nullopt, found, found}}, dht);
  REQUIRE(rows.size() == 3);
  CHECK(rows[0].size() == 2);
  CHECK(rows[1].empty());
  CHECK((rows[0][0] && !rows[0][1] && !rows[2][0] && rows[2][2]));
  CHECK(rows[2][1]->uid() == "nop.0");

  std::promise<FoundExperts> looked_up;
  auto modules = create_remote_experts_future<TensorTree>(looked_up.get_future(), dht);
  std::promise<std::vector<FoundExperts>> batch;
  auto batch_modules = batch_create_remote_experts_future(batch.get_future(), dht);
  looked_up.set_value({std::nullopt, found});
  batch.set_value({{found}, {}});
  CHECK(modules.get()[1]->uid() == "nop.0");
  CHECK(batch_modules.get()[0][0]->uid() == "nop.0");
  auto searched = get_experts_future(dht, {"nop.1", "nop.0"});
  const auto experts = searched.get();
  CHECK((!experts[0] && experts[1]));
}

TEST_CASE("B2.8 calls run on the thread of the DHT that was given, waited for or as futures") {
  Pair pair(width(4));
  pair.server.add<Scale>("scale.0");
  auto& dht = pair.start();
  auto expert = get_experts(dht, {"scale.0"})[0];
  const Tensor x = torch::ones({2, 4});
  std::thread::id ran_on;
  const auto where = [&](auto) -> skep::awaitable<std::thread::id> { co_return std::this_thread::get_id(); };
  auto first = dht.run_coroutine_future([&](auto) -> skep::awaitable<Tensor> {
    const Tensor y = co_await expert->call(x);
    ran_on = std::this_thread::get_id();
    co_return y;
  });
  auto second = dht.run_coroutine_future([&](auto) { return expert->call(2 * x); });
  CHECK(second.get().equal(2 * first.get()));
  CHECK(ran_on == dht.run_coroutine(where));
  pair.server.hang();
  auto given_up = dht.run_coroutine_future([&](auto) { return expert->call(x); });
  given_up.cancel();
  CHECK_THROWS_AS(given_up.get(), Error);
}

TEST_CASE("B2.6 a second derivative through a remote expert is refused with a sentence") {
  Pair pair(width(4));
  pair.server.add<Scale>("scale.0");
  auto& dht = pair.start();
  auto expert = get_experts(dht, {"scale.0"})[0];
  const Tensor x = torch::ones({2, 4}).requires_grad_();
  const auto once = torch::autograd::grad({expert->forward(x).square().sum()}, {x}, {}, true, true);
  CHECK(words_of([&] {
          (void)torch::autograd::grad({once[0].sum()}, {x});
        }).starts_with("skep: expert scale.0 cannot be differentiated twice"));
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

TEST_CASE("several trainers with optimizers of their own, each in loops over batches, train one net over one expert") {
  Pair pair(width(4, sgd(0.01)));
  auto& backend = pair.server.add<Scale>("scale.0");
  auto& dht = pair.start();
  const auto remote = get_experts(dht, {"scale.0"})[0];
  std::vector<double> fell(3);
  std::vector<std::thread> trainers;
  for (std::size_t t = 0; t < fell.size(); ++t) {
    trainers.emplace_back([&, t] {
      torch::nn::Sequential net(torch::nn::Linear(4, 4), remote, torch::nn::Linear(4, 1));
      {
        const torch::NoGradGuard no_grad;
        for (auto& parameter : net->parameters()) parameter.fill_(0.1 * static_cast<double>(t + 1));
      }
      torch::optim::SGD optimizer(net->parameters(), 0.01);
      std::vector<double> losses;
      for (int epoch = 0; epoch < 10; ++epoch) {
        for (const Tensor& batch : torch::linspace(-1, 1, 32).view({8, 4}).split(4)) {  // as a DataLoader gives them
          optimizer.zero_grad();
          const Tensor loss = (net->forward(batch) - batch.sum(1, true)).square().mean();
          loss.backward();
          optimizer.step();
          losses.push_back(loss.item<double>());
        }
      }
      fell[t] = losses.front() + losses[1] - losses.back() - losses[losses.size() - 2];
    });
  }
  for (auto& trainer : trainers) trainer.join();
  for (const double by : fell) CHECK(by > 0);
  CHECK(backend.update_count() >= 20);  // 60 batches, of which those that came at once were joined
  CHECK(backend.update_count() <= 60);
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

TEST_CASE("a net with a remote expert is saved and loaded: the expert's parameters stay where it lives") {
  Pair pair(width(4));
  pair.server.add<Scale>("scale.0");
  auto& dht = pair.start();
  const auto expert = get_experts(dht, {"scale.0"})[0];
  torch::nn::Sequential saved(torch::nn::Linear(4, 4), expert);
  torch::nn::Sequential loaded(torch::nn::Linear(4, 4), expert);
  std::stringstream file;
  torch::save(saved, file);
  torch::load(loaded, file);
  const Tensor x = torch::rand({2, 4});
  CHECK(loaded->forward(x).equal(saved->forward(x)));
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
