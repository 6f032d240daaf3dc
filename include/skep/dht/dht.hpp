// DHT: a node of the DHT with a thread of its own, for programs that block.
#pragma once

#include <algorithm>
#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdlib>
#include <exception>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "skep/async/awaitable.hpp"
#include "skep/async/runner.hpp"
#include "skep/async/with_timeout.hpp"
#include "skep/core/error.hpp"
#include "skep/core/new_shared.hpp"
#include "skep/core/time.hpp"
#include "skep/dht/dht_options.hpp"
#include "skep/dht/future.hpp"
#include "skep/dht/json.hpp"
#include "skep/dht/node.hpp"
#include "skep/dht/options.hpp"
#include "skep/dht/validator.hpp"
#include "skep/p2p/host.hpp"
#include "skep/p2p/multiaddr.hpp"
#include "skep/p2p/peer_id.hpp"

namespace skep::inline v0::dht {

/// A function from a node to a coroutine, such as `[](skep::dht::Node<> node) -> skep::awaitable<int> {...}`.
template <class F, class V = AcceptAll>
concept NodeFunction = std::invocable<F&, Node<p2p::Host, V>>;

/// A member of the DHT that owns a thread, a `p2p::Host` and a `Node` on it. Values are JSON.
///
/// *Lifetime:* a handle; copies are the same DHT, which shuts down with the last of them. After `shutdown` every call
/// throws "the DHT is closed". *Threads:* every member from any thread but those that run others' work (its own I/O
/// thread, a Runtime's), where a call that blocks throws errc::wrong_thread at once. *Errors:* what `Node` throws.
/// *Validators:* `BasicDHT dht(options, compose_validators(...))` decides who may write what.
template <RecordValidator V = AcceptAll>
class BasicDHT {
 public:
  /// Starts the thread and joins the swarm, unless `options.start` is false. Throws what joining throws, and errors
  /// that say which address is wrong or in use, or why the identity file cannot be used.
  explicit BasicDHT(DHTOptions options = {}, V validator = {})
      : state_(new_shared<State>(std::move(options), std::move(validator))) {
    if (state_->options.start) start();
  }

  /// Joins the swarm; only once. Without `options.await_ready` it returns before that is done.
  void start() {
    require_may_block("DHT::start");
    Phase fresh = Phase::fresh;
    if (!state_->phase.compare_exchange_strong(fresh, Phase::starting)) {
      throw Error(errc::invalid_argument, "the DHT was started before");
    }
    auto launch = skep::detail::fulfil(State::launch(state_.get()), std::move(state_->joined));
    (void)state_->runner.spawn_future(std::move(launch));
    if (state_->options.await_ready) wait_until_ready();
  }
  /// Waits until the swarm is joined and throws what joining threw. Throws errc::timed_out when that takes longer; it
  /// goes on all the same.
  void wait_until_ready(Duration timeout = unlimited) {
    require_may_block("DHT::wait_until_ready");
    if (state_->phase.load() == Phase::fresh) (void)open();
    if (timeout != unlimited && state_->ready.wait_for(timeout) != std::future_status::ready) {
      throw Error(errc::timed_out, "the DHT has not joined its swarm within " + skep::detail::describe_wait(timeout));
    }
    try {
      state_->ready.get();
    } catch (...) {
      state_->shut_down();
      throw;
    }
  }
  /// Leaves the swarm and ends the thread. Idempotent.
  void shutdown() { state_->shut_down(); }

  /// Runs a coroutine on the DHT's thread, `function(node)`, and waits for its value. The function lives as long as the
  /// coroutine; what it refers to must, too.
  template <NodeFunction<V> F>
  auto run_coroutine(F function) {
    require_may_block("DHT::run_coroutine");
    return state_->runner.block_on(bind(std::move(function)));
  }
  /// The same without waiting; cancelling the future ends the coroutine.
  template <NodeFunction<V> F>
  [[nodiscard]] auto run_coroutine_future(F function) {
    using T = typename std::invoke_result_t<F&, Node<p2p::Host, V>>::value_type;
    const auto stop = new_shared<detail::StopSwitch>(executor());
    auto call = skep::detail::keep_alive(bind(std::move(function)));
    return Future<T>(state_->runner.spawn_future(detail::StopSwitch::run(stop, std::move(call))), stop);
  }

  /// Stores a regular value; true when a majority of the replicas keeps it.
  StoreResult store(std::string key, const json& value, WallTime expiration, StoreOptions options = {}) {
    require_may_block("DHT::store");
    return run_coroutine(storing({{std::move(key), value, expiration, {}}}, options)).front();
  }
  /// Stores one item of the dictionary under a key.
  StoreResult store_subkey(std::string key, const json& subkey, const json& value, WallTime expiration,
                           StoreOptions options = {}) {
    require_may_block("DHT::store_subkey");
    return run_coroutine(storing({{std::move(key), value, expiration, subkey}}, options)).front();
  }
  /// Stores many items at once; results in the items' order.
  std::vector<StoreResult> store_many(std::vector<JsonStoreItem> items, StoreOptions options = {}) {
    require_may_block("DHT::store_many");
    return run_coroutine(storing(std::move(items), options));
  }
  /// What is stored under a key, or nothing.
  std::optional<JsonFound> get(std::string key, GetOptions options = {}) {
    require_may_block("DHT::get");
    return std::move(run_coroutine(reading({std::move(key)}, options)).front());
  }
  /// The same for many keys at once; results in the keys' order.
  std::vector<std::optional<JsonFound>> get_many(std::vector<std::string> keys, GetOptions options = {}) {
    require_may_block("DHT::get_many");
    return run_coroutine(reading(std::move(keys), options));
  }

  // The same without waiting
  [[nodiscard]] Future<std::vector<StoreResult>> store_many_future(std::vector<JsonStoreItem> items,
                                                                   StoreOptions options = {}) {
    return run_coroutine_future(storing(std::move(items), options));
  }
  [[nodiscard]] Future<std::vector<std::optional<JsonFound>>> get_many_future(std::vector<std::string> keys,
                                                                              GetOptions options = {}) {
    return run_coroutine_future(reading(std::move(keys), options));
  }
  /// One future for each key, each of which can be cancelled without the others.
  [[nodiscard]] std::vector<Future<std::vector<std::optional<JsonFound>>>> get_many_futures(
      const std::vector<std::string>& keys, GetOptions options = {}) {
    std::vector<Future<std::vector<std::optional<JsonFound>>>> futures;
    for (const std::string& key : keys) futures.push_back(get_many_future({key}, options));
    return futures;
  }

  [[nodiscard]] p2p::PeerId peer_id() const { return open().host->self(); }
  [[nodiscard]] bool client_mode() const noexcept { return state_->options.client_mode; }
  /// Multiaddresses by which others may join through this node, each with its /p2p.
  [[nodiscard]] std::vector<std::string> visible_maddrs() {
    return run_coroutine([](auto node) -> awaitable<std::vector<std::string>> {
      std::vector<std::string> out;
      for (const auto& address : node.network().addresses()) out.push_back(address.to_string());
      co_return out;
    });
  }

  /// The node and its executor, for coroutines that run beside the DHT: use the node on its executor only.
  [[nodiscard]] Node<p2p::Host, V> node() const { return *open().node; }
  [[nodiscard]] Executor executor() const { return open().runner.executor(); }

 private:
  enum class Phase { fresh, starting, running, closed };

  static Error is_closed() { return {errc::closed, "the DHT is closed"}; }

  template <class F>
  auto bind(F function) const {
    return [node = node(), function = std::move(function)]() mutable { return function(node); };
  }
  static auto storing(std::vector<JsonStoreItem> items, StoreOptions options) {
    std::vector<StoreItem> values;
    values.reserve(items.size());
    for (auto& item : items) values.push_back(to_store_item(std::move(item)));
    return [values = std::move(values), options](auto node) { return node.store_many(values, options); };
  }
  static auto reading(std::vector<std::string> keys, GetOptions options) {
    return [keys = std::move(keys), options](auto node) -> awaitable<std::vector<std::optional<JsonFound>>> {
      std::vector<std::optional<JsonFound>> out;
      for (const auto& found : co_await node.get_many(keys, options)) out.push_back(to_json(found));
      co_return out;
    };
  }

  struct State {
    State(DHTOptions chosen, V validate) : options(std::move(chosen)), validator(std::move(validate)) {}
    State(const State&) = delete;
    State& operator=(const State&) = delete;
    ~State() { shut_down(); }

    static awaitable<void> launch(State* self) {
      self->thread.store(std::this_thread::get_id());
      DHTOptions& options = self->options;
      p2p::HostOptions hosting;
      if (!options.client_mode) hosting.listen = options.host_maddrs;
      hosting.announce = options.announce_maddrs;
      hosting.identity_path = options.identity_path;
      hosting.serve_routing = !options.client_mode;
      hosting.limits = options.limits;
      std::vector<p2p::Multiaddr> peers;
      // NOLINTNEXTLINE(performance-inefficient-vector-operation)
      for (const std::string& text : options.initial_peers) peers.push_back(initial_peer(text));
      self->host.emplace(self->runner.executor(), std::move(hosting));
      options.node.client_mode = options.client_mode;
      options.node.num_workers =
          detail::workers_by_environment(options.node.num_workers, std::getenv("SKEP_DHT_NUM_WORKERS"));
      options.node.initial_peers.clear();
      for (const auto& address : peers) {
        const p2p::PeerId peer = *address.peer_id();
        if (peer == self->host->self()) continue;
        self->host->add_address(peer, address);
        auto& known = options.node.initial_peers;
        if (std::find(known.begin(), known.end(), peer) == known.end()) known.push_back(peer);
      }
      self->node.emplace(co_await Node<p2p::Host, V>::create(*self->host, options.node, std::move(self->validator)));
      Phase starting = Phase::starting;
      self->phase.compare_exchange_strong(starting, Phase::running);
    }

    static p2p::Multiaddr initial_peer(const std::string& text) {
      std::string reason;
      auto address = p2p::Multiaddr::from_text(text, &reason);
      if (!address) {
        throw Error(errc::invalid_argument,
                    "initial_peers: \"" + printable(text) + "\" is not a multiaddress: " + reason);
      }
      if (!address->peer_id()) {
        throw Error(errc::invalid_argument, "initial_peers: \"" + printable(text) +
                                                "\" does not name its peer; it must end in /p2p/ and the peer's id");
      }
      return *std::move(address);
    }

    static awaitable<void> leave(State* self) {
      if (self->node) {
        self->node->close();
        co_await self->node->join();
      }
      if (self->host) {
        self->host->close();
        co_await self->host->join();
      }
    }

    void shut_down() {
      const Phase before = phase.exchange(Phase::closed);
      if (before == Phase::closed) return;
      if (before == Phase::fresh) joined.set_exception(std::make_exception_ptr(is_closed()));
      if (std::this_thread::get_id() ==
          thread.load()) {  // nobody may wait for the own thread: what was closed ends by itself
        if (node) node->close();
        if (host) host->close();
        runner.stop();
        return;
      }
      (void)runner.spawn_future(leave(this)).wait_for(options.shutdown_timeout);
      runner.stop(options.shutdown_timeout);
    }

    DHTOptions options;
    V validator;  // until the node has it
    std::atomic<Phase> phase{Phase::fresh};
    std::atomic<std::thread::id> thread{};                           // the runner's
    skep::detail::KeptPromise<void> joined;                          // until it starts
    const std::shared_future<void> ready = joined.future().share();  // what joining ends with
    Runner runner{"skep-dht"};
    std::optional<p2p::Host> host;  // set before `phase` is running
    std::optional<Node<p2p::Host, V>> node;
  };

  [[nodiscard]] State& open() const {
    switch (state_->phase.load()) {
      case Phase::running: return *state_;
      case Phase::closed: throw is_closed();
      case Phase::starting:
        if (state_->ready.wait_for(Duration::zero()) == std::future_status::ready) {
          state_->ready.get();  // throws what joining threw
        }
        throw Error(errc::closed, "the DHT is still joining its swarm; call wait_until_ready() first");
      default: throw Error(errc::closed, "the DHT has not been started; call start() first");
    }
  }

  std::shared_ptr<State> state_;
};

/// The DHT in which everybody may write everything, as in Hivemind by default.
using DHT = BasicDHT<>;

}  // namespace skep::inline v0::dht
