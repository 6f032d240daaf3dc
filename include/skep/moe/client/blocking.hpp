// How blocking calls of remote modules run on the thread of the DHT they were given.
#pragma once

#include <memory>
#include <utility>

#include "skep/async/awaitable.hpp"
#include "skep/dht/dht.hpp"
#include "skep/p2p/host.hpp"

namespace skep::inline v0::moe::detail {

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

}  // namespace skep::inline v0::moe::detail
