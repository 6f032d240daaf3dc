// HandlerState: what the calls of one ConnectionHandler share: the experts, who may ask them, and how many ask now.
#pragma once

#include <cstddef>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "skep/async/cancellation.hpp"
#include "skep/async/event.hpp"
#include "skep/core/bytes.hpp"
#include "skep/core/error.hpp"
#include "skep/core/time.hpp"
#include "skep/dht/call_guard.hpp"
#include "skep/moe/peer_quotas.hpp"
#include "skep/moe/server/expert_backend.hpp"
#include "skep/moe/server/traffic.hpp"
#include "skep/p2p/network.hpp"

namespace skep::inline v0::moe {

/// The experts of one server by uid.
using ExpertTable = std::map<std::string, std::shared_ptr<ExpertBackend>, std::less<>>;

/// Says whether a peer may call a method ("ConnectionHandler.rpc_forward") of an expert: nothing, or the sentence that
/// refuses it. The ticket is what the request's metadata says (RequestMetadata), empty where it says nothing. Called
/// once a request, on the network's executor, before anything is computed; must not block.
using Authorize = std::function<std::optional<std::string>(const p2p::PeerId& peer, std::string_view method,
                                                           std::string_view uid, BytesView ticket)>;

/// Admits members of a moderated swarm only, by their tickets, and of these whom `further` admits.
template <p2p::Network N>
[[nodiscard]] Authorize members_only(dht::CallGuard<N> guard, Authorize further = {}) {
  return [guard = std::move(guard), further = std::move(further)](
             const p2p::PeerId& peer, std::string_view method, std::string_view uid,
             BytesView ticket) mutable -> std::optional<std::string> {
    if (const auto admitted = guard.authorize(peer, method, ticket); !admitted) {
      return std::string(method) +
             " is for members of this swarm, and the request is refused: " + admitted.error().message();
    }
    return further ? further(peer, method, uid, ticket) : std::nullopt;
  };
}

/// Options of a ConnectionHandler.
struct ConnectionHandlerOptions {
  Duration request_timeout = 60s;                      ///< from a whole request to its computed answer
  Duration arrival_timeout = 300s;                     ///< for all messages of a streamed request to arrive
  std::size_t max_request_size = 256UL * 1024 * 1024;  ///< bytes of all tensors of one streamed request
  PeerQuotaOptions quotas = {};                        ///< of each peer
  Authorize authorize = {};                            ///< empty: everybody may do everything
};

namespace detail {

/// Which of the two computations a call asks for.
enum class ExpertCallKind { forward, backward };

/// What the handlers of one server share.
template <p2p::Network N>
struct HandlerState {
  HandlerState(N network, ExpertTable table, ConnectionHandlerOptions chosen, std::shared_ptr<ServerTraffic> counters)
      : net(std::move(network)),
        experts(std::move(table)),
        options(std::move(chosen)),
        traffic(std::move(counters)),
        quotas(std::make_shared<PeerQuotas>(options.quotas)) {}

  N net;
  const ExpertTable experts;
  const ConnectionHandlerOptions options;
  const std::shared_ptr<ServerTraffic> traffic;
  const std::shared_ptr<PeerQuotas> quotas;
  std::size_t in_hand = 0;      // requests from their first byte to their answer
  bool leaving = false;         // lets no request in any more
  std::optional<Event> silent;  // set when it leaves and nothing is in hand

  [[nodiscard]] ExpertBackend* find(std::string_view uid) const {
    const auto found = experts.find(uid);
    return found == experts.end() ? nullptr : found->second.get();
  }
  [[nodiscard]] ExpertBackend& require(std::string_view uid) const {
    if (auto* expert = find(uid)) return *expert;
    ++traffic->of(uid).invalid;
    throw Error(errc::not_found, "this server has no expert \"" + printable(uid) + "\"");
  }

  /// Throws the sentence for a peer that may not do this.
  void authorize(const p2p::PeerId& peer, std::string_view method, std::string_view uid, BytesView ticket) const {
    if (!options.authorize) return;
    const auto refusal = options.authorize(peer, method, uid, ticket);
    if (!refusal) return;
    ++traffic->of(uid).unauthorized;
    throw Error(errc::refused, *refusal);
  }
  void require_staying(std::string_view uid) const {
    if (!leaving) return;
    ++traffic->of(uid).leaving;
    throw Error(errc::closed, "this server is leaving, ask another");
  }
};

/// Counts what a request failed of, by what its computation threw.
inline void count_failure(TrafficCounters& traffic, const std::exception_ptr& thrown) noexcept {
  if (is_cancellation(thrown)) return;  // its caller went away
  try {
    std::rethrow_exception(thrown);
  } catch (const Error& error) {
    if (error.code() == errc::busy) {
      ++traffic.busy;
    } else if (error.code() == errc::timed_out) {
      ++traffic.expired;
    } else if (error.code() == errc::closed) {
      ++traffic.leaving;
    } else if (error.code() == errc::limit_exceeded || error.code() == errc::invalid_argument) {
      ++traffic.invalid;
    } else {
      ++traffic.failed;
    }
  } catch (...) {
    ++traffic.failed;
  }
}

}  // namespace detail

}  // namespace skep::inline v0::moe
