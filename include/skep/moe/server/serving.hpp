// Serving on the DHT's thread: the door is opened, the experts are declared again and again, until the server leaves.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <future>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "skep/async/awaitable.hpp"
#include "skep/async/cancellation.hpp"
#include "skep/async/event.hpp"
#include "skep/async/scope.hpp"
#include "skep/async/with_timeout.hpp"
#include "skep/core/log.hpp"
#include "skep/core/time.hpp"
#include "skep/dht/dht.hpp"
#include "skep/dht/node.hpp"
#include "skep/moe/declare.hpp"
#include "skep/moe/pool_options.hpp"
#include "skep/moe/replicas.hpp"
#include "skep/moe/server/choose_uids.hpp"
#include "skep/moe/server/connection_handler.hpp"
#include "skep/moe/server/traffic.hpp"
#include "skep/moe/server_load.hpp"
#include "skep/moe/withdraw.hpp"
#include "skep/p2p/host.hpp"

namespace skep::inline v0::moe {

namespace detail {

/// How a server serves.
struct ServingOptions {
  ConnectionHandlerOptions handler = {};
  bool guard_calls = false;     ///< only members of the moderated swarm are served
  std::string owner_tag = {};   ///< who endorses the declarations; empty: nobody
  Duration period = 30s;        ///< between two declarations
  Duration expiration = 60s;    ///< life of a declaration
  Duration load_period = 0s;    ///< between two records of the load; zero: none
  Duration leave_timeout = 5s;  ///< for what is in hand to be answered and for the declarations to be withdrawn
  std::shared_ptr<ServerTraffic> traffic = nullptr;
};

/// What the DHT's thread and the server's owner tell each other.
struct ServerOnNetwork {
  std::optional<Event> declared;  // the door is open and the experts were declared once, or will not be
  std::optional<Event> leave;
  bool closed = false;
  WallTime declared_until{};  // of the last declaration
};

/// Says of each record that does not make its expert visible what is wrong with it. @return whether there was none
inline bool report_declaration(const std::vector<DeclaredRecord>& records) {
  std::size_t lost = 0;
  for (const DeclaredRecord& record : records) {
    if (record.visible()) continue;
    ++lost;
    if (!record.other) continue;
    log(LogLevel::warning, "server",
        "expert " + record.key + " is declared by another server, " + record.other->peer_id.to_string() +
            ", and for longer: clients go there until it is gone");
  }
  if (lost == 0) return true;
  log(LogLevel::warning, "server",
      std::to_string(lost) + " of " + std::to_string(records.size()) +
          " records that declare the experts were not kept by a majority of their replicas, will be tried again");
  return false;
}

/// Tells the DHT of the experts; a failure is logged and does not end the server. @return whether it worked
template <ExpertDirectory Node>
awaitable<bool> declare_once(Node node, std::vector<std::string> uids, WallTime expiration, Duration timeout,
                             std::string owner_tag = {}) {
  try {
    const auto records =
        co_await declare_experts(node, std::move(uids), expiration, {.timeout = timeout}, std::move(owner_tag));
    co_return report_declaration(records);
  } catch (const std::exception& e) {
    if (is_cancellation(std::current_exception())) throw;
    log(LogLevel::warning, "server",
        std::string("the experts could not be declared, will be tried again: ") + e.what());
  }
  co_return false;
}

/// Stores what a server can do without; what it means when that fails is one line of the log.
template <ExpertDirectory Node>
awaitable<void> store_if_possible(Node node, std::vector<dht::StoreItem> records, Duration timeout, LogLevel level,
                                  std::string otherwise) {
  try {
    co_await node.store_many(std::move(records), dht::StoreOptions{.timeout = timeout});
  } catch (const std::exception& e) {
    if (is_cancellation(std::current_exception())) throw;
    log(level, "server", otherwise + ": " + e.what());
  }
}

/// Tells that this server is one of those that serve the experts; who fails with another finds it by that.
template <ExpertDirectory Node>
awaitable<void> tell_replica(Node node, std::vector<std::string> uids, WallTime expiration, Duration timeout) {
  auto records = replica_records(uids, node.peer_id(), expiration);
  return store_if_possible(std::move(node), std::move(records), timeout, LogLevel::warning,
                           "clients may not find this server as a replica");
}

/// Declares the experts, and again every period, after a failure sooner, until cancelled.
template <ExpertDirectory Node>
awaitable<void> keep_declared(std::shared_ptr<ServerOnNetwork> network, Node node, std::vector<std::string> uids,
                              Duration period, Duration expiration, std::string owner_tag = {}) {
  for (;;) {
    const SteadyTime begun = node.network().steady_now();  // slow stores must not put off the next declaration
    network->declared_until = node.now() + expiration;
    const bool worked = co_await declare_once(node, uids, network->declared_until, period, owner_tag);
    network->declared->set();
    co_await tell_replica(node, uids, network->declared_until, period / 2);
    co_await node.network().sleep_until(begun + (worked ? period : period / 4));
  }
}

/// What all pools of these experts have done.
[[nodiscard]] inline PoolStatistics pools_of(const ExpertTable& experts) {
  PoolStatistics sum;
  for (const auto& [uid, expert] : experts) {
    for (const ExpertPool& pool : expert->get_pools()) {
      const PoolStatistics one = pool.statistics();
      sum.batches += one.batches;
      sum.tasks += one.tasks;
      sum.waited += one.waited;
      sum.computed += one.computed;
      sum.queued += one.queued;
    }
  }
  return sum;
}

/// Tells clients every period how long requests take here, beside the declarations, until cancelled. A record outlives
/// two periods.
template <ExpertDirectory Node>
awaitable<void> keep_load_told(Node node, ExpertTable experts, std::vector<std::string> uids, Duration period) {
  PoolStatistics before = pools_of(experts);
  for (;;) {
    co_await node.network().sleep_until(deadline_after(node.network().steady_now(), period));
    const PoolStatistics now = pools_of(experts);
    // in a long batch nothing is known yet: what was told runs out, and clients go by what they have measured
    if (now.batches == before.batches && now.queued > 0) continue;
    const ServerLoad load{node.peer_id(), recent_wait(before, now)};
    before = now;
    const WallTime until = node.now() + std::chrono::duration<double>(2 * period + 1s);
    co_await store_if_possible(node, load_records(uids, load, until), period, LogLevel::debug,
                               "the load could not be told, will be tried again");
  }
}

/// Takes the declarations back, as far as that works within `timeout`.
template <ExpertDirectory Node>
awaitable<void> withdraw(Node node, std::vector<std::string> uids, WallTime declared_until, Duration timeout,
                         std::string owner_tag = {}) {
  try {
    const auto stored = co_await with_timeout(
        node.network(), timeout,
        withdraw_experts(node, std::move(uids), declared_until, {.timeout = timeout / 2}, std::move(owner_tag)),
        "withdrawing the experts");
    const auto kept = std::ranges::count_if(stored, [](const dht::StoreResult& one) { return bool(one); });
    log(LogLevel::debug, "server",
        std::to_string(kept) + " of " + std::to_string(stored.size()) + " declarations were withdrawn");
  } catch (const std::exception& e) {
    if (is_cancellation(std::current_exception())) throw;
    log(LogLevel::warning, "server", std::string("the experts stay declared until their records expire: ") + e.what());
  }
}

/// Takes back that this server is a replica, as far as that works within `timeout`.
template <ExpertDirectory Node>
awaitable<void> withdraw_replica(Node node, std::vector<std::string> uids, WallTime told_until, Duration timeout) {
  auto records = replica_withdrawals(uids, node.peer_id(), told_until);
  return store_if_possible(std::move(node), std::move(records), timeout, LogLevel::debug,
                           "the server stays a replica until its records expire");
}

/// Waits for the requests in hand.
template <p2p::Network N>
awaitable<void> finish_requests(N net, ConnectionHandler<N>& handler, Duration timeout) {
  try {
    co_await with_timeout(net, timeout, handler.drain(), "answering the requests in hand");
  } catch (const Error& e) {
    if (is_cancellation(std::current_exception())) throw;
    log(LogLevel::warning, "server", e.what());
  }
}

/// Serves until told to leave, or until the DHT ends. Leaving, it refuses new requests, answers those in hand and
/// withdraws the experts from the DHT.
template <dht::RecordValidator V>
awaitable<void> serve_experts(std::shared_ptr<ServerOnNetwork> network, dht::Node<p2p::Host, V> node,
                              ExpertTable experts, ServingOptions options) {
  const Executor executor = node.network().executor();
  network->declared.emplace(executor);
  network->leave.emplace(executor);
  if (network->closed) {
    network->declared->set();
    co_return;
  }
  std::vector<std::string> uids;
  for (const auto& [uid, expert] : experts) uids.push_back(uid);
  if (options.guard_calls) {
    const dht::CallGuard<p2p::Host> guard(node.network(), node.options().authorizer);
    options.handler.authorize = members_only(guard, std::move(options.handler.authorize));
  }
  ConnectionHandler<p2p::Host> handler(node.network(), experts, options.handler, options.traffic);
  Scope declaring(executor, "server");
  declaring.spawn(keep_declared(network, node, uids, options.period, options.expiration, options.owner_tag));
  if (options.load_period > 0s) {
    declaring.spawn(keep_load_told(node, std::move(experts), uids, options.load_period));
  }
  bool asked = true;
  try {
    co_await network->leave->wait();
  } catch (const std::exception&) {  // the DHT shuts down
    asked = false;
  }
  co_await clear_cancellation();
  declaring.cancel();
  co_await declaring.join();
  network->declared->set();
  if (asked) {
    Scope leaving(executor, "server");
    leaving.spawn(finish_requests(node.network(), handler, options.leave_timeout));
    leaving.spawn(withdraw_replica(node, uids, network->declared_until, options.leave_timeout));
    leaving.spawn(withdraw(node, std::move(uids), network->declared_until, options.leave_timeout, options.owner_tag));
    co_await leaving.join();
  }
  handler.close();
}

inline awaitable<void> wait_until_declared(std::shared_ptr<ServerOnNetwork> network) {
  co_await network->declared->wait();
}

inline awaitable<void> ask_to_leave(std::shared_ptr<ServerOnNetwork> network) {
  network->closed = true;
  if (network->leave) network->leave->set();
  co_return;
}

/// What a server needs of its DHT, whatever validators that has. Members block.
class ServerDht {
 public:
  ServerDht() = default;
  ServerDht(const ServerDht&) = delete;
  ServerDht& operator=(const ServerDht&) = delete;
  virtual ~ServerDht() = default;

  /// Throws errc::invalid_argument for options that need what this DHT does not have.
  virtual void check(bool guard_calls, const std::string& owner_tag) = 0;
  [[nodiscard]] virtual std::vector<std::string> free_uids(std::string pattern, std::size_t wanted,
                                                           std::set<std::string> taken, std::uint64_t seed) = 0;
  /// Begins to serve. @return when the network has been left
  [[nodiscard]] virtual std::future<void> serve(std::shared_ptr<ServerOnNetwork> network, ExpertTable experts,
                                                ServingOptions options) = 0;
  virtual void wait_until_declared(std::shared_ptr<ServerOnNetwork> network) = 0;
  virtual void ask_to_leave(std::shared_ptr<ServerOnNetwork> network) = 0;
};

template <dht::RecordValidator V>
class ServerDhtOf final : public ServerDht {
  using Node = dht::Node<p2p::Host, V>;

 public:
  explicit ServerDhtOf(dht::BasicDHT<V> dht) : dht_(std::move(dht)) {}

  void check(bool guard_calls, const std::string& owner_tag) override {
    if (guard_calls && !dht_.node().options().authorizer) {
      throw Error(errc::invalid_argument,
                  "guard_calls asks for tickets by the DHT's authorizer, but the DHT has none; give it one in "
                  "node.authorizer");
    }
    if (owner_tag.empty()) return;
    const bool signs = dht_.run_coroutine(
        [&](Node node) -> awaitable<bool> { co_return dht::signs_for(node.protocol().validator, owner_tag); });
    if (signs) return;
    throw Error(errc::invalid_argument,
                "owner_tag names an owner for whom the DHT does not sign; give the DHT the signature validator whose "
                "owner_tag() it is");
  }
  std::vector<std::string> free_uids(std::string pattern, std::size_t wanted, std::set<std::string> taken,
                                     std::uint64_t seed) override {
    return dht_.run_coroutine(
        [&](Node node) { return moe::free_uids(std::move(node), std::move(pattern), wanted, std::move(taken), seed); });
  }
  std::future<void> serve(std::shared_ptr<ServerOnNetwork> network, ExpertTable experts,
                          ServingOptions options) override {
    return dht_.run_coroutine_future([network, experts = std::move(experts), options = std::move(options)](Node node) {
      return serve_experts(network, std::move(node), experts, options);
    });
  }
  void wait_until_declared(std::shared_ptr<ServerOnNetwork> network) override {
    dht_.run_coroutine([&](const Node&) { return detail::wait_until_declared(network); });
  }
  void ask_to_leave(std::shared_ptr<ServerOnNetwork> network) override {
    dht_.run_coroutine([&](const Node&) { return detail::ask_to_leave(network); });
  }

 private:
  dht::BasicDHT<V> dht_;
};

}  // namespace detail

}  // namespace skep::inline v0::moe
