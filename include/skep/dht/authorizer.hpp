// Authorizer: proof, carried by every request and answer, that its sender is a member of a moderated swarm.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "skep/async/awaitable.hpp"
#include "skep/async/with_timeout.hpp"
#include "skep/core/bytes.hpp"
#include "skep/core/error.hpp"
#include "skep/core/result.hpp"
#include "skep/core/time.hpp"
#include "skep/dht/auth_error.hpp"
#include "skep/p2p/network.hpp"
#include "skep/p2p/peer_id.hpp"

namespace skep::inline v0::dht {

/// A request ready to be sent, and the nonce by which its answer is known.
struct SignedRequest {
  Bytes message;
  Bytes nonce;
};

/// Signs messages for others and judges theirs (Hivemind's AuthorizerBase). The messages are protobuf whose field 1 is
/// the authorization; what else they say is not its business, but all of it is signed. `TokenAuthorizer` is the one
/// that Hivemind's swarms use. One executor.
class Authorizer {
 public:
  Authorizer() = default;
  Authorizer(const Authorizer&) = delete;
  Authorizer& operator=(const Authorizer&) = delete;
  virtual ~Authorizer() = default;

  /// Completes when messages can be signed; awaited before each. Throws when no access is granted.
  [[nodiscard]] virtual awaitable<void> prepare(WallTime now) = 0;
  /// Signs a request for one recipient. @param request  a message without field 1
  [[nodiscard]] virtual SignedRequest sign_request(const p2p::PeerId& to, Bytes request, WallTime now) = 0;
  /// Judges a request that arrived at `self`, and remembers it. @return its nonce, for the answer
  [[nodiscard]] virtual Result<Bytes> validate_request(const p2p::PeerId& self, BytesView request, WallTime now) = 0;
  [[nodiscard]] virtual Bytes sign_response(BytesView response, BytesView nonce) = 0;
  [[nodiscard]] virtual Result<void> validate_response(BytesView response, BytesView nonce, WallTime now) = 0;
};

namespace detail {

/// Throws what an authorizer found wrong.
inline void require_authorized(const p2p::PeerId& peer, std::string_view method, std::string_view what,
                               const std::error_code& error) {
  if (!error) return;
  throw Error(error, std::string(method) + ": the " + std::string(what) + " of " + peer.to_string() +
                         " is refused: " + error.message());
}

}  // namespace detail

/// A unary call in a moderated swarm: signed, and its answer believed only from a member. `options.timeout` bounds the
/// call and, apart, the wait for an access token. Throws what `Network::call` throws, and errors of auth_errc.
template <p2p::Network N>
[[nodiscard]] awaitable<Bytes> authorized_call(N net, std::shared_ptr<Authorizer> authorizer, p2p::PeerId peer,
                                               std::string method, Bytes request, p2p::CallOptions options = {}) {
  co_await with_timeout(net, options.timeout, authorizer->prepare(net.wall_now()), "getting an access token");
  SignedRequest sent = authorizer->sign_request(peer, std::move(request), net.wall_now());
  Bytes response = co_await net.call(peer, method, std::move(sent.message), options);
  const auto judged = authorizer->validate_response(response, sent.nonce, net.wall_now());
  detail::require_authorized(peer, method, "answer", judged.error());
  co_return response;
}

/// Answers a unary call in a moderated swarm: `answer(request)` runs for members only, and what it returns, a payload
/// of one piece, is signed.
template <p2p::Network N, class Answer>
[[nodiscard]] awaitable<p2p::Payload> authorized_answer(N net, std::shared_ptr<Authorizer> authorizer, Answer answer,
                                                        p2p::Request request, Duration token_timeout) {
  const auto nonce = authorizer->validate_request(net.self(), request.body, net.wall_now());
  detail::require_authorized(request.peer, request.method, "request", nonce.error());
  co_await with_timeout(net, token_timeout, authorizer->prepare(net.wall_now()), "getting an access token");
  const p2p::Payload response = co_await answer(std::move(request));
  co_return authorizer->sign_response(response.head(), *nonce);
}

}  // namespace skep::inline v0::dht
