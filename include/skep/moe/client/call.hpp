// ExpertCall: one request to one expert, how it is made, and what became of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "skep/async/awaitable.hpp"
#include "skep/core/error.hpp"
#include "skep/core/time.hpp"
#include "skep/dht/authorizer.hpp"
#include "skep/dht/call_guard.hpp"
#include "skep/moe/request_metadata.hpp"
#include "skep/moe/uid.hpp"
#include "skep/p2p/network.hpp"

namespace skep::inline v0::moe {

/// One request to one expert and where its answer goes.
struct ExpertCall {
  ExpertInfo expert;
  std::string method;                       ///< "ConnectionHandler.rpc_forward" and its kin
  std::vector<p2p::Payload> messages;       ///< one; or all messages of a streaming call
  bool streaming = false;                   ///< the method answers with a stream
  std::shared_ptr<p2p::AnyBodySink> sink;   ///< takes the answer, each message of a stream in turn
  std::vector<std::uint32_t> rows = {};     ///< the samples it serves, for k_min; none: it is awaited
  std::optional<std::size_t> repeats = {};  ///< the number of the call whose expert it asks at another server
  /// Judges the whole answer on the network's executor; a sentence makes the call a failure. Null: any answer will do.
  std::function<std::optional<std::string>()> accept = {};
  RequestMetadata metadata = {};  ///< still to be put into the first message

  void attach_metadata() {
    if (!messages.empty()) metadata.prepend_to(messages.front());
  }
};

/// What became of a call.
struct CallOutcome {
  std::error_code code;    ///< empty: it was answered
  std::string sentence;    ///< why it failed
  Duration latency{};      ///< from its sending to its end
  std::size_t bytes = 0;   ///< sent
  bool overtaken = false;  ///< it was late, and others answered in its place

  [[nodiscard]] bool answered() const noexcept { return !code; }
  /// The server could not be reached, or the connection to it broke.
  [[nodiscard]] bool server_failed() const noexcept {
    return code == errc::unreachable || code == errc::closed || code == std::errc::connection_reset ||
           code == std::errc::connection_refused || code == std::errc::connection_aborted ||
           code == std::errc::broken_pipe;
  }
};

/// Gives the call the ticket that servers of a moderated swarm ask for; takes some 0.7 ms of the network's thread.
/// Throws when no access is to be had in time.
template <p2p::Network Network>
[[nodiscard]] awaitable<void> add_ticket(Network network, std::shared_ptr<dht::Authorizer> authorizer, ExpertCall& call,
                                         Duration timeout) {
  const dht::CallGuard<Network> guard(std::move(network), std::move(authorizer));
  call.metadata.ticket = co_await guard.ticket(call.expert.peer_id, call.method, timeout);
}

/// Makes one call as its messages are; its answer lands in its sink and is not judged yet. `call` lives until the end.
/// Throws RemoteError for what the expert says itself, and what the network throws.
template <p2p::Network Network>
[[nodiscard]] awaitable<void> call_expert(Network network, ExpertCall& call, p2p::CallOptions options) {
  std::string remote_text;
  try {
    if (!call.streaming) {
      p2p::Payload body = call.messages.empty() ? p2p::Payload() : std::move(call.messages.front());
      co_await network.call_into(call.expert.peer_id, call.method, std::move(body), call.sink, options);
      co_return;
    }
    auto stream = co_await network.open(call.expert.peer_id, call.method, options);
    for (auto& message : call.messages) co_await stream.send(std::move(message));
    co_await stream.end_of_input();
    for (bool more = true; more;) more = co_await stream.receive_into(call.sink);
    co_return;
  } catch (const RemoteError& error) {
    remote_text = error.text();
  }
  throw RemoteError("expert " + call.expert.uid + " on " + call.expert.peer_id.to_string(), remote_text);
}

}  // namespace skep::inline v0::moe
