#include "skep/moe/client/mixture.hpp"

#include <torch/nn/modules/container/sequential.h>
#include <torch/serialize.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <set>
#include <sstream>
#include <thread>

#include "moe/client/swarm.hpp"
#include "skep/moe/replicas.hpp"
#include "support/words_of.hpp"
// doctest comes last
#include <doctest/doctest.h>

using namespace skep::moe;
using skep::Error;
using skep::test::ExpertServer;
using skep::test::words_of;
using torch::Tensor;
using namespace std::chrono_literals;

namespace {

skep::moe::BackendOptions width(int64_t hidden_dim, OptimizerFactory optimizer = nullptr) {
  return {.expert = {.hidden_dim = hidden_dim}, .optimizer = std::move(optimizer)};
}

/// Servers that share a 4 x 4 grid row by row, and a client.
template <class M>
struct Grid {
  explicit Grid(std::size_t count = 2, int64_t dim = 8, OptimizerFactory optimizer = nullptr) {
    for (std::size_t s = 0; s < count; ++s) {
      servers.push_back(std::make_unique<ExpertServer>(s == 0 ? std::vector<std::string>{} : servers[0]->addresses(),
                                                       width(dim, optimizer)));
    }
    for (std::size_t i = 0; i < 4; ++i) {
      for (std::size_t j = 0; j < 4; ++j) {
        const std::string uid = "ffn." + std::to_string(i) + "." + std::to_string(j);
        backends[uid] = &servers[i % count]->template add<M>(uid);
      }
    }
    for (auto& server : servers) server->start();
    client.emplace(skep::test::client_of(*servers[0]));
  }
  [[nodiscard]] MixtureOptions options(std::size_t k_best = 4) const {
    return {.in_features = 8, .grid_size = {4, 4}, .dht = *client, .uid_prefix = "ffn.", .k_best = k_best};
  }
  /// The layer computed here with the same modules: softmax of the best k sums of scores.
  /// @param only  of one server, or of all
  [[nodiscard]] Tensor local(torch::nn::Linear gate, const Tensor& x, int64_t k, std::optional<std::size_t> only = {}) {
    const Tensor scores = gate->forward(x);
    Tensor all = (scores.narrow(1, 0, 4).unsqueeze(2) + scores.narrow(1, 4, 4).unsqueeze(1)).flatten(1);
    for (std::size_t expert = 0; only && expert < 16; ++expert) {
      if (expert / 4 % servers.size() != *only) all = all.index_fill(1, torch::tensor(int64_t(expert)), -1e9);
    }
    const auto [best, which] = all.topk(k, 1);
    const Tensor weights = best.softmax(1);
    std::vector<Tensor> outputs;
    for (int i = 0; i < 4; ++i) {
      for (int j = 0; j < 4; ++j) {
        outputs.push_back(backends.at("ffn." + std::to_string(i) + "." + std::to_string(j))->module()->forward(x));
      }
    }
    const Tensor stacked = at::stack(outputs, 1);  // [batch, 16, width]
    const Tensor chosen = stacked.gather(1, which.unsqueeze(2).expand({x.size(0), k, stacked.size(2)}));
    return (chosen * weights.unsqueeze(2)).sum(1);
  }

  std::vector<std::unique_ptr<ExpertServer>> servers;
  std::map<std::string, ModuleBackend<M>*> backends;
  std::optional<skep::dht::DHT> client;
};

float difference(const Tensor& a, const Tensor& b) { return (a - b).abs().max().item<float>(); }

}  // namespace

TEST_CASE(
    "B4.1, B4.2, B4.3, B4.5, B4.6, B4.7, B4.11: outputs and gradients equal those of the same layer held locally, to "
    "1e-6") {
  Grid<FeedforwardBlock> grid;
  torch::manual_seed(2);
  RemoteMixtureOfExperts moe(grid.options());
  const Tensor x = torch::randn({32, 8});
  const Tensor target = torch::randn({32, 8});
  const Tensor there = x.clone().requires_grad_();
  const Tensor here = x.clone().requires_grad_();

  const Tensor remote = moe(there);
  (remote * target).sum().backward();
  const Tensor gate_gradient = moe->proj->weight.grad().clone();
  const Tensor bias_gradient = moe->proj->bias.grad().clone();
  moe->zero_grad();
  const Tensor local = grid.local(moe->proj, here, 4);
  (local * target).sum().backward();

  CHECK(difference(remote, local) < 1e-6);
  CHECK(difference(there.grad(), here.grad()) < 4e-6);                // sums of 4 experts' gradients
  CHECK(difference(gate_gradient, moe->proj->weight.grad()) < 2e-5);  // sums over 32 rows
  CHECK(difference(bias_gradient, moe->proj->bias.grad()) < 2e-5);
}

TEST_CASE("B4.1 the gate sees the mean over the middle dimensions") {
  Grid<Nop> grid(1);
  RemoteMixtureOfExperts moe(grid.options());
  // the experts take [batch, 8]: only the gate's part can be looked at
  CHECK(
      words_of([&] { (void)moe(torch::ones({2, 3, 8})); }) ==
      "skep: the experts under \"ffn.\" refused the request: input 0 is float32[2, 3, 8], expected float32[batch, 8]");
  CHECK(words_of([&] { (void)moe(torch::ones({2, 9})); }) ==
        "skep: the input of the mixture under \"ffn.\" is float32[2, 9], expected [batch, ..., 8]");
}

TEST_CASE("B4.6 scores of experts are the sums of the grid's, short lists are padded with minus infinity") {
  Grid<Nop> grid(1);
  RemoteMixtureOfExperts moe(grid.options());
  ExpertChoice choice;
  choice.experts = {{"ffn.1.2", {}}, {"ffn.3.0", {}}};
  choice.offsets = {0, 2, 3, 3};
  choice.chosen = {0, 1, 1};
  const Tensor first = torch::arange(12, torch::kFloat).view({3, 4}).requires_grad_();
  const Tensor second = first * 10;
  const Tensor scores = moe->compute_expert_scores({first, second}, choice);
  const float inf = std::numeric_limits<float>::infinity();
  CHECK(scores.equal(torch::tensor({{1.F + 20.F, 3.F + 0.F}, {7.F + 40.F, -inf}, {-inf, -inf}})));
  scores.index({at::indexing::Slice(0, 1)}).sum().backward();
  CHECK(first.grad().isfinite().all().item<bool>());
}

TEST_CASE("B5.1, H-22: all rows for one expert travel in one request, both ways, and experts learn") {
  Grid<Scale> grid(2, 8, sgd(0.01));
  auto options = grid.options(16);
  std::vector<MixtureReport> reports;
  options.observer = [&](const MixtureReport& report) { reports.push_back(report); };
  RemoteMixtureOfExperts moe(std::move(options));
  const Tensor x = torch::randn({64, 8}).requires_grad_();
  moe(x).sum().backward();
  for (const auto& [uid, backend] : grid.backends) CHECK(backend->update_count() == 1);
  REQUIRE(reports.size() == 2);
  CHECK_FALSE(reports[0].backward);
  CHECK(reports[1].backward);
  for (const auto& report : reports) {
    CHECK(report.rows == 64);
    CHECK(report.rows_without == 0);
    CHECK(report.alive() == 16);
    CHECK(report.duration > 0s);
    for (const auto& expert : report.experts) {
      CHECK(expert.rows == 64);
      CHECK(expert.latency <= report.duration);
      CHECK(expert.bytes > 64 * 8 * 4);
    }
  }
}

TEST_CASE("a mixture is a module among others: Sequential, an optimizer, state_dict, training") {
  Grid<FeedforwardBlock> grid(2, 8, adam(1e-2));
  torch::manual_seed(3);
  RemoteMixtureOfExperts moe(grid.options());
  torch::nn::Sequential net(torch::nn::Linear(4, 8), moe, torch::nn::Linear(8, 2));
  CHECK(moe->named_parameters().contains("proj.weight"));
  CHECK(moe->named_parameters().contains("proj.bias"));
  CHECK(moe->proj->weight.sizes() == at::IntArrayRef({8, 8}));
  torch::optim::Adam optimizer(net->parameters(), 1e-2);
  const Tensor x = torch::randn({64, 4});
  const Tensor y = x.narrow(1, 0, 2) * x.narrow(1, 2, 2);
  float first = 0;
  float last = 0;
  for (int step = 0; step < 30; ++step) {
    optimizer.zero_grad();
    const Tensor loss = torch::mse_loss(net->forward(x), y);
    loss.backward();
    optimizer.step();
    last = loss.item<float>();
    if (step == 0) first = last;
  }
  CHECK(last < first / 2);

  std::stringstream file;
  torch::save(moe, file);
  RemoteMixtureOfExperts loaded(grid.options());
  torch::load(loaded, file);
  CHECK(loaded->proj->weight.equal(moe->proj->weight));
  std::ostringstream text;
  text << net;
  CHECK(text.str().find("RemoteMixtureOfExperts(in_features=8, uid_prefix=\"ffn.\"") != std::string::npos);
}

namespace {

/// As the documentation writes it.
struct NetImpl : torch::nn::Module {
  explicit NetImpl(skep::dht::DHT& dht)
      : in(register_module("in", torch::nn::Linear(784, 8))),
        moe(register_module("moe", skep::moe::RemoteMixtureOfExperts({.in_features = 8,
                                                                      .grid_size = {4, 4},
                                                                      .dht = dht,
                                                                      .uid_prefix = "ffn.",
                                                                      .k_best = 4,
                                                                      .forward_timeout = 2s,
                                                                      .timeout_after_k_min = 100ms}))),
        out(register_module("out", torch::nn::Linear(8, 10))) {}
  torch::Tensor forward(torch::Tensor x) { return out(moe(torch::relu(in(x.flatten(1))))); }
  torch::nn::Linear in;
  skep::moe::RemoteMixtureOfExperts<> moe;
  torch::nn::Linear out;
};
TORCH_MODULE(Net);

}  // namespace

TEST_CASE("a mixture in a module of one's own") {
  Grid<Nop> grid(1);
  Net net(*grid.client);
  CHECK(net->named_parameters().contains("moe.proj.weight"));
  CHECK(net->forward(torch::zeros({3, 28, 28})).sizes() == at::IntArrayRef({3, 10}));
}

TEST_CASE("no expert found: one sentence that says where was looked and what to do") {
  Grid<Nop> grid(1);
  auto options = grid.options();
  options.uid_prefix = "fnn.";
  RemoteMixtureOfExperts moe(options);
  CHECK(words_of([&] { (void)moe(torch::ones({2, 8})); }) ==
        "skep: no expert found under \"fnn.\" on a 4 x 4 grid; the DHT has 1 peer and no key \"fnn.\": are servers "
        "running, and is the prefix right?");
  options.uid_prefix = "f n..";
  CHECK(words_of([&] { RemoteMixtureOfExperts wrong(options); }).find("is not an expert prefix") != std::string::npos);
  options.uid_prefix = "ffn.";
  options.k_min = 5;
  CHECK(words_of([&] { RemoteMixtureOfExperts wrong(options); }).find("k_min = 5 is more than k_best = 4") !=
        std::string::npos);
}

TEST_CASE("B4.8, B4.9, B4.10, H-6: rows without an expert are zeros when allowed, never NaN, and an error otherwise") {
  Grid<Scale> grid(1);
  ExpertServer other(grid.servers[0]->addresses(), width(8));
  other.add<Scale>("lone.3.3");
  other.start();
  grid.servers[0]->hang();
  auto options = grid.options(1);
  options.forward_timeout = 200ms;
  options.backward_timeout = 200ms;
  SUBCASE("an error") {
    RemoteMixtureOfExperts moe(options);
    const std::string words = words_of([&] { (void)moe(torch::ones({2, 8})); });
    // the schema cannot be had either
    CHECK(words.find("within") != std::string::npos);
  }
  SUBCASE("an error with k_min 0, too, and one that names the row and who failed it") {
    auto all = grid.options(2);
    all.k_min = 0;
    all.forward_timeout = 200ms;
    all.hedge_after = skep::unlimited;
    RemoteMixtureOfExperts moe(all);
    const std::string words = words_of([&] { (void)moe(torch::ones({2, 8})); });
    INFO(words);
    CHECK(words.find("2 of 2 samples have fewer than 1 answers; sample 0: expert ffn.") != std::string::npos);
    CHECK(words.find(" within 200 ms; expert ffn.") != std::string::npos);
  }
  SUBCASE("zeros") {
    options.uid_prefix = "lone.";
    options.allow_zero_outputs = true;
    options.penalties.first = 0s;
    RemoteMixtureOfExperts moe(options);
    const Tensor x = torch::ones({2, 8}).requires_grad_();
    CHECK(moe(x).abs().sum().item<float>() > 0);
    other.hang();
    const auto start = std::chrono::steady_clock::now();
    const Tensor y = moe(x);
    CHECK(std::chrono::steady_clock::now() - start < 2s);
    CHECK(y.equal(torch::zeros({2, 8})));
    y.sum().backward();
    CHECK(x.grad().equal(torch::zeros({2, 8})));
    CHECK(moe->proj->weight.grad().equal(torch::zeros_like(moe->proj->weight)));
  }
}

TEST_CASE(
    "H-28, B5.6, B5.5, H-18: the next best stand in for experts that fail or are late, in the same step, per row") {
  Grid<FeedforwardBlock> grid(2);
  auto options = grid.options(4);
  options.k_min = 4;  // a row with fewer would be an error
  std::vector<MixtureReport> reports;
  options.observer = [&](const MixtureReport& report) { reports.push_back(report); };
  torch::manual_seed(4);
  RemoteMixtureOfExperts moe(options);
  (void)moe(torch::randn({64, 8}));
  SUBCASE("killed") { grid.servers[1]->kill(); }
  SUBCASE("hanging") { grid.servers[1]->hang(); }
  const Tensor there = torch::randn({64, 8}).requires_grad_();
  const Tensor here = there.detach().clone().requires_grad_();
  const auto start = std::chrono::steady_clock::now();
  const Tensor remote = moe(there);
  CHECK(std::chrono::steady_clock::now() - start < 10s);  // of 60
  (remote * remote).sum().backward();
  const Tensor gate_gradient = moe->proj->weight.grad().clone();
  moe->zero_grad();
  const Tensor local = grid.local(moe->proj, here, 4, 0);
  (local * local).sum().backward();
  CHECK(difference(remote, local) < 1e-5);
  CHECK(difference(there.grad(), here.grad()) < 1e-4);
  CHECK(difference(gate_gradient, moe->proj->weight.grad()) < 1e-3);

  REQUIRE(reports.size() == 3);
  const MixtureReport& forward = reports[1];
  CHECK(forward.rows_without == 0);
  for (const auto& expert : forward.experts) {
    const bool alive = expert.expert.peer_id == grid.servers[0]->dht().peer_id();
    CHECK(expert.answered() == alive);
    CHECK((alive || !expert.stood_in));
  }
  CHECK(std::ranges::any_of(forward.experts, &ExpertReport::stood_in));
  CHECK(reports[2].alive() == reports[2].experts.size());  // only who answered is asked for gradients, and once
  CHECK(reports[2].experts.size() == 8);
}

TEST_CASE("H-28 another server of the same expert stands in before the next best does") {
  ExpertServer home({}, width(8));
  ExpertServer owner(home.addresses(), width(8));
  ExpertServer replica(home.addresses(), width(8));
  for (auto* server : {&replica, &owner}) {  // the last one to declare stands under the uid
    for (const char* uid : {"r.0", "r.1"}) server->add<Scale>(uid);
    server->start();
    server->dht().run_coroutine([](auto node) -> skep::awaitable<void> {
      (void)co_await node.store_many(replica_records({"r.0", "r.1"}, node.peer_id(), node.now() + 60s), {});
    });
  }
  MixtureReport last;
  MixtureOptions options{.in_features = 8, .grid_size = {2}, .dht = home.dht(), .uid_prefix = "r.", .k_best = 1};
  options.observer = [&](const MixtureReport& report) { last = report; };
  RemoteMixtureOfExperts moe(options);
  const Tensor x = torch::randn({4, 8}).requires_grad_();
  (void)moe(x);
  SUBCASE("killed") { owner.kill(); }
  SUBCASE("hanging") { owner.hang(); }
  const Tensor y = moe(x);
  CHECK(difference(y, x * torch::linspace(1, 2, 8)) < 1e-6);
  std::set<std::string> lost;
  for (const auto& expert : last.experts) {
    CHECK(expert.stood_in == (expert.expert.peer_id == replica.dht().peer_id()));
    CHECK(expert.answered() == expert.stood_in);
    if (!expert.stood_in) lost.insert(expert.expert.uid);
  }
  for (const auto& expert : last.experts) CHECK(lost.contains(expert.expert.uid));
  y.sum().backward();
  CHECK(last.alive() == last.experts.size());
}

TEST_CASE("B4.4 where the first expert does not say what it is another one is asked, and it is not chosen again") {
  Grid<Scale> grid(2);
  grid.servers[1]->kill();
  RemoteMixtureOfExperts moe(grid.options(16));
  CHECK(difference(moe(torch::ones({2, 8})), torch::linspace(1, 2, 8).expand({2, 8})) < 1e-6);
}

TEST_CASE("H-25: among near ties the rows go to the server that says it is less busy") {
  Grid<Scale> grid(2);
  for (const auto& [server, wait] : {std::pair{0U, 5ms}, {1U, 900ms}}) {
    std::vector<std::string> uids;
    for (const auto& [uid, backend] : grid.backends) {
      if ((uid[4] - '0') % 2 == static_cast<int>(server)) uids.push_back(uid);
    }
    grid.servers[server]->dht().run_coroutine([&uids, told = wait](auto node) -> skep::awaitable<void> {
      const ServerLoad load{node.peer_id(), told};
      (void)co_await node.store_many(load_records(uids, load, node.now() + 60s), {});
    });
  }
  auto options = grid.options(4);
  options.near_tie = 1000;
  MixtureReport last;
  options.observer = [&](const MixtureReport& report) { last = report; };
  RemoteMixtureOfExperts moe(options);
  (void)moe(torch::randn({64, 8}));
  REQUIRE(last.experts.size() >= 4);
  for (const auto& expert : last.experts) CHECK(expert.expert.peer_id == grid.servers[0]->dht().peer_id());
}

TEST_CASE("B6.10 a search whose time is over takes what is at hand, and the report says so") {
  ExpertServer home({}, width(8));  // it keeps the records that the other one declares
  ExpertServer server(home.addresses(), width(8));
  server.add<Scale>("near.0");
  server.start();
  MixtureReport last;
  MixtureOptions options{.in_features = 8, .grid_size = {4}, .dht = home.dht(), .uid_prefix = "near.", .k_best = 2};
  options.time_budget = skep::Duration(1);
  options.observer = [&](const MixtureReport& report) { last = report; };
  RemoteMixtureOfExperts hurried(options);
  CHECK(difference(hurried(torch::ones({3, 8})), torch::linspace(1, 2, 8).expand({3, 8})) < 1e-6);
  CHECK(last.rows_partial == 3);
  options.uid_prefix = "unknown.";
  RemoteMixtureOfExperts lost(options);
  CHECK(words_of([&] { (void)lost(torch::ones({3, 8})); }) ==
        "skep: no expert was found under \"unknown.\" within 0 ms, and none was known before");
  options.prefetch = 4;
  options.cache_time = 0s;
  CHECK(words_of([&] { RemoteMixtureOfExperts wrong(options); }) ==
        "skep: a searcher that prefetches needs a cache_time");
}

TEST_CASE("a killed server stalls no step twice: its experts are skipped and the next best take over") {
  Grid<Scale> grid(2);
  auto options = grid.options(2);
  options.forward_timeout = 1s;
  options.backward_timeout = 1s;
  options.allow_zero_outputs = true;
  std::vector<MixtureReport> reports;
  options.observer = [&](const MixtureReport& report) { reports.push_back(report); };
  RemoteMixtureOfExperts moe(options);
  torch::manual_seed(4);
  const auto step = [&] {
    const auto start = std::chrono::steady_clock::now();
    const Tensor y = moe(torch::randn({64, 8}));
    y.sum().backward();
    CHECK(y.isfinite().all().item<bool>());
    return std::chrono::steady_clock::now() - start;
  };
  step();
  SUBCASE("killed") { grid.servers[1]->kill(); }
  SUBCASE("hanging") { grid.servers[1]->hang(); }
  CHECK(step() < 5s);
  CHECK(reports[2].alive() < reports[2].experts.size());
  for (int i = 0; i < 3; ++i) {
    CHECK(step() < 1s);
    const MixtureReport& forward = reports[reports.size() - 2];
    CHECK(forward.alive() == forward.experts.size());
    CHECK(forward.rows_without == 0);
    for (const auto& expert : forward.experts) CHECK(expert.expert.peer_id == grid.servers[0]->dht().peer_id());
  }
}

TEST_CASE("B5.8 experts that are lost before backward: the others' weights stand for theirs, or they are constants") {
  Grid<Scale> grid(2);
  auto options = grid.options(16);
  options.backward_timeout = 300ms;
  options.allow_zero_outputs = true;
  SUBCASE("rescaled, as by default") {}
  SUBCASE("constants, as in Hivemind") { options.zero_missing_gradients = true; }
  RemoteMixtureOfExperts moe(options);
  {
    const at::NoGradGuard no_grad;
    moe->proj->weight.zero_();  // so the gate has no part in the input's gradient
  }
  const Tensor x = torch::randn({4, 8}).requires_grad_();
  const Tensor y = moe(x);
  grid.servers[1]->kill();
  const Tensor w = torch::linspace(1, 2, 8);  // every expert's: the experts' part of a gradient is w, times its weights
  y.sum().backward();
  const Tensor share = x.grad() / w;
  CHECK(share.isfinite().all().item<bool>());
  CHECK(share.min().item<float>() > (options.zero_missing_gradients ? 0.01F : 0.999F));
  CHECK(share.max().item<float>() < (options.zero_missing_gradients ? 0.99F : 1.001F));
}

TEST_CASE("B5.8 too few answers in the backward pass are an error where zeros are not allowed") {
  Grid<Scale> grid(1);
  auto options = grid.options(2);
  options.backward_timeout = 300ms;
  RemoteMixtureOfExperts moe(options);
  const Tensor y = moe(torch::randn({4, 8}));
  grid.servers[0]->hang();
  const std::string words = words_of([&] { y.sum().backward(); });
  INFO(words);
  CHECK(words.find("too few experts answered in the backward pass: 4 of 4 samples have fewer than 1 answers; sample 0: "
                   "expert ffn.") != std::string::npos);
}

TEST_CASE(
    "B5.9, B5.10: whole numbers among the inputs get no gradient, all inputs go to every expert, several outputs come "
    "back") {
  ExpertServer server({}, width(8));
  for (int i = 0; i < 4; ++i) server.add<TwoWays>("two." + std::to_string(i));
  server.start();
  const auto client = skep::test::client_of(server);
  RemoteMixtureOfExperts<std::tuple<Tensor, Tensor>(Tensor, Tensor)> moe(
      MixtureOptions{.in_features = 8, .grid_size = {4}, .dht = client, .uid_prefix = "two.", .k_best = 3});
  const Tensor x = torch::randn({5, 8}).requires_grad_();
  const Tensor index = torch::arange(5).view({5, 1});
  const auto [product, negative] = moe->forward(x, index);
  CHECK(difference(product, x * index) < 1e-6);
  CHECK(difference(negative, -x) < 1e-6);
  (product + negative).sum().backward();
  CHECK(difference(x.grad(), (index - 1).expand({5, 8}).to(torch::kFloat)) < 1e-6);
  CHECK_FALSE(index.grad().defined());
  const auto again = moe->forward(x, index);
  const auto first = torch::autograd::grad({std::get<0>(again).sum()}, {x}, {}, true, true);
  CHECK(words_of([&] {
          (void)torch::autograd::grad({first[0].sum()}, {x}, {}, false, false, true);
        }).find("the mixture under \"two.\"") != std::string::npos);
}

TEST_CASE("several trainer threads share a mixture") {
  Grid<FeedforwardBlock> grid(2);
  RemoteMixtureOfExperts moe(grid.options());
  std::vector<std::thread> threads;
  std::atomic<int> right = 0;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 10; ++i) {
        const Tensor x = torch::full({8, 8}, static_cast<float>(t + 1) / static_cast<float>(i + 1)).requires_grad_();
        const Tensor y = moe->forward(x);
        const auto gradient = torch::autograd::grad({y.sum()}, {x})[0];
        const at::NoGradGuard no_grad;
        right += difference(y, grid.local(moe->proj, x, 4)) < 1e-5 && gradient.isfinite().all().item<bool>() ? 1 : 0;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(right == 40);
}

TEST_CASE("a mixture on an I/O thread or of a closed DHT says so") {
  Grid<Nop> grid(1);
  RemoteMixtureOfExperts moe(grid.options());
  std::error_code code;
  grid.client->run_coroutine([&](auto) -> skep::awaitable<void> {
    try {
      (void)moe(torch::ones({2, 8}));
    } catch (const Error& error) {
      code = error.code();
    }
    co_return;
  });
  CHECK(code == make_error_code(skep::errc::wrong_thread));
  grid.client->shutdown();
  CHECK(words_of([&] { (void)moe(torch::ones({2, 8})); }) == "skep: the DHT is closed");
}

TEST_CASE("B5.2 with detect_anomalies an expert that answers NaN has failed, an input with NaN is an error") {
  Grid<Scale> grid(1);
  {
    const at::NoGradGuard no_grad;
    for (const char* uid : {"ffn.0.0", "ffn.2.1"}) grid.backends.at(uid)->module()->w.fill_(std::nanf(""));
  }
  auto options = grid.options(16);
  options.detect_anomalies = true;
  MixtureReport last;
  options.observer = [&](const MixtureReport& report) { last = report; };
  RemoteMixtureOfExperts moe(options);
  const Tensor y = moe(torch::ones({4, 8}));
  CHECK(y.isfinite().all().item<bool>());
  CHECK(last.alive() == 14);
  CHECK(words_of([&] { (void)moe(torch::full({4, 8}, std::nanf(""))); }) ==
        "skep: one of the inputs has nan/inf values");
}

TEST_CASE("B4.12 an empty batch has an empty answer, whose form any expert tells") {
  Grid<Scale> grid(1);
  RemoteMixtureOfExperts moe(grid.options());
  (void)moe(torch::ones({2, 8}));
  CHECK(moe(torch::ones({0, 8})).sizes() == at::IntArrayRef({0, 8}));
  RemoteMixtureOfExperts fresh(grid.options());  // has not asked any expert yet
  CHECK(fresh(torch::ones({0, 8})).sizes() == at::IntArrayRef({0, 8}));
}
