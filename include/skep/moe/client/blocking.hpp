// How blocking calls of remote modules run on the thread of the network they were given.
#pragma once

#include <memory>
#include <optional>
#include <utility>
#include <variant>

#include "skep/async/awaitable.hpp"
#include "skep/async/executor_thread.hpp"
#include "skep/core/time.hpp"
#include "skep/dht/dht.hpp"
#include "skep/p2p/host.hpp"

namespace skep::inline v0::moe {

namespace detail {

/// Runs a coroutine on the DHT's thread and waits for its end. Throws errc::wrong_thread on a thread that must not
/// block, errc::closed when the DHT is closed.
template <class T>
T block_on(dht::DHT dht, awaitable<T> coroutine) {
  return dht.run_coroutine([coroutine = std::move(coroutine)](const auto&) mutable { return std::move(coroutine); });
}

/// The host beneath a DHT; for use on its thread.
[[nodiscard]] inline p2p::Host host_of(const dht::DHT& dht) { return dht.node().network(); }
/// The authorizer by which it calls the members of a moderated swarm, or null.
[[nodiscard]] inline std::shared_ptr<dht::Authorizer> authorizer_of(const dht::DHT& dht) {
  return dht.node().options().authorizer;
}

}  // namespace detail

/// The network that a remote module calls by: that of a DHT, or a host alone, whose thread its owner runs.
///
/// *Lifetime:* keeps the DHT or the host; the io_context of a host alone outlives it. *Threads:* any.
class CallNetwork {
 public:
  CallNetwork(dht::DHT dht) : beneath_(std::move(dht)) {}  // NOLINT(*-explicit-*): a DHT is a network
  CallNetwork(const p2p::Host& host)                       // NOLINT(*-explicit-*): and so is a host
      : beneath_(Alone{ExecutorThread(host.executor()), share_on(host.executor(), host)}) {}

  /// The host, for use on its thread. Throws errc::closed when the DHT is closed.
  [[nodiscard]] p2p::Host host() const {
    if (const auto* alone = std::get_if<Alone>(&beneath_)) return *alone->host;
    return detail::host_of(std::get<dht::DHT>(beneath_));
  }
  /// The DHT's node, where there is a DHT; for use on its thread.
  [[nodiscard]] std::optional<dht::Node<>> node() const {
    if (const auto* dht = std::get_if<dht::DHT>(&beneath_)) return dht->node();
    return std::nullopt;
  }
  /// The authorizer by which the DHT calls the members of a moderated swarm, or null.
  [[nodiscard]] std::shared_ptr<dht::Authorizer> authorizer() const {
    if (const auto* dht = std::get_if<dht::DHT>(&beneath_)) return detail::authorizer_of(*dht);
    return nullptr;
  }
  /// Runs a coroutine on the network's thread and waits for its end. Throws errc::wrong_thread on a thread that must
  /// not block, errc::closed when the DHT is closed.
  /// @param timeout  by which the coroutine ends itself
  template <class T>
  T block_on(awaitable<T> coroutine, Duration timeout) const {
    if (const auto* dht = std::get_if<dht::DHT>(&beneath_)) return detail::block_on(*dht, std::move(coroutine));
    const Duration patience = timeout < unlimited - 5s ? timeout + 5s : unlimited;
    return std::get<Alone>(beneath_).thread.block_on(std::move(coroutine), patience);
  }
  /// Throws errc::wrong_thread on a thread that must not block.
  /// @param call  the call's name, a literal
  void require_may_block(const char* call) const {
    skep::require_may_block(call);
    if (const auto* alone = std::get_if<Alone>(&beneath_)) alone->thread.require_elsewhere(call);
  }

 private:
  struct Alone {
    ExecutorThread thread;
    std::shared_ptr<p2p::Host> host;
  };

  std::variant<dht::DHT, Alone> beneath_;
};

}  // namespace skep::inline v0::moe
