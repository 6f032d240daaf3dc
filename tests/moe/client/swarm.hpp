// A swarm in one process for the tests of remote modules: servers of experts over loopback, each with a DHT of its own.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "skep/dht/dht.hpp"
#include "skep/moe/declare.hpp"
#include "skep/moe/replicas.hpp"
#include "skep/moe/server/connection_handler.hpp"
#include "skep/moe/server/layers.hpp"
#include "skep/moe/server/module_backend.hpp"
#include "skep/moe/server/optimizers.hpp"
#include "skep/moe/server/runtime.hpp"
#include "skep/p2p/host.hpp"

/// y = w x, element by element. Its gradient step is easy to compute by hand.
struct ScaleImpl : torch::nn::Module {
  explicit ScaleImpl(int64_t width) : w(register_parameter("w", torch::linspace(1, 2, width))) {}
  torch::Tensor forward(const torch::Tensor& x) { return x * w; }
  torch::Tensor w;
};
TORCH_MODULE(Scale);
template <>
struct skep::moe::Expert<Scale> {
  static constexpr auto name = "scale";
  static auto make(const ExpertOptions& o) { return Scale(o.hidden_dim); }
  static auto sample(const ExpertOptions& o) { return row(o.hidden_dim); }
};

/// (x, index) -> (x * index, -x), for an input of whole numbers and two outputs.
struct TwoWaysImpl : torch::nn::Module {
  std::tuple<torch::Tensor, torch::Tensor> forward(const torch::Tensor& x, const torch::Tensor& index) {
    return {x * index, -x};
  }
};
TORCH_MODULE(TwoWays);
template <>
struct skep::moe::Expert<TwoWays> {
  static constexpr auto name = "two_ways";
  static auto make(const ExpertOptions&) { return TwoWays(); }
  static auto sample(const ExpertOptions& o) { return std::tuple{row(o.hidden_dim), row(1, at::kLong)}; }
};

namespace skep::test {

/// One server of experts.
class ExpertServer {
 public:
  /// @param initial_peers  empty: the first of a swarm
  /// @param authorizer     of a moderated swarm, whose members alone are served
  explicit ExpertServer(std::vector<std::string> initial_peers, moe::BackendOptions options = {},
                        std::shared_ptr<dht::Authorizer> authorizer = nullptr)
      : options_(std::move(options)),
        dht_({.initial_peers = std::move(initial_peers),
              .host_maddrs = {"/ip4/127.0.0.1/tcp/0"},
              .node = {.authorizer = std::move(authorizer)}}) {
    options_.scheduler = runtime_.scheduler();
  }
  ExpertServer(const ExpertServer&) = delete;
  ExpertServer& operator=(const ExpertServer&) = delete;
  ~ExpertServer() { kill(); }

  template <class M>
  moe::ModuleBackend<M>& add(const std::string& uid) {
    auto backend = std::make_shared<moe::ModuleBackend<M>>(uid, options_);
    experts_.emplace(uid, backend);
    return *backend;
  }
  /// Serves and declares what was added.
  void start() {
    dht_.run_coroutine([this](auto node) -> awaitable<void> {
      const dht::CallGuard<p2p::Host> guard(node.network(), node.options().authorizer);
      const moe::ConnectionHandlerOptions handling{.authorize = moe::members_only(guard)};
      handler_.emplace(node.network(), experts_, handling);
      std::vector<std::string> uids;
      for (const auto& [uid, backend] : experts_) uids.push_back(uid);
      const WallTime until = node.now() + 300s;
      auto replicas = moe::replica_records(uids, node.peer_id(), until);
      co_await node.store_many(std::move(replicas), dht::StoreOptions{});
      co_await moe::declare_experts(node, std::move(uids), until);
    });
    runtime_.start();
  }
  /// Serves another module under a uid from now on, as after a restart.
  void replace(const std::string& uid, std::shared_ptr<moe::ExpertBackend> backend) {
    dht_.run_coroutine([&](auto node) -> awaitable<void> {
      handler_.reset();
      experts_.insert_or_assign(uid, std::move(backend));
      handler_.emplace(node.network(), experts_);
      co_return;
    });
  }
  /// Refuses calls of a method ("ConnectionHandler.rpc_backward") in these words.
  void refuse(std::string method, std::string words) {
    dht_.run_coroutine([&](auto node) -> awaitable<void> {
      auto network = node.network();
      network.handle(std::move(method), [words](const p2p::Request&) -> awaitable<p2p::Payload> {
        throw Error(errc::busy, words);
        co_return p2p::Payload();
      });
      co_return;
    });
  }
  /// The options of its modules, with another width.
  [[nodiscard]] moe::BackendOptions options(int64_t hidden_dim) const {
    moe::BackendOptions options = options_;
    options.expert.hidden_dim = hidden_dim;
    return options;
  }
  /// Stops answering, as a paused process: connections stay open.
  void hang() { runtime_.shutdown(); }
  /// Goes away without a word.
  void kill() {
    if (std::exchange(killed_, true)) return;
    dht_.run_coroutine([this](auto) -> awaitable<void> {
      handler_.reset();
      co_return;
    });
    runtime_.shutdown();
    dht_.shutdown();
  }

  [[nodiscard]] std::vector<std::string> addresses() { return dht_.visible_maddrs(); }
  [[nodiscard]] dht::DHT& dht() { return dht_; }

 private:
  moe::Runtime runtime_;
  moe::BackendOptions options_;
  moe::ExpertTable experts_;
  std::optional<moe::ConnectionHandler<p2p::Host>> handler_;
  dht::DHT dht_;
  bool killed_ = false;
};

/// A client's DHT that knows these servers.
[[nodiscard]] inline dht::DHT client_of(ExpertServer& server, std::shared_ptr<dht::Authorizer> authorizer = nullptr) {
  return dht::DHT(
      {.initial_peers = server.addresses(), .client_mode = true, .node = {.authorizer = std::move(authorizer)}});
}

}  // namespace skep::test
