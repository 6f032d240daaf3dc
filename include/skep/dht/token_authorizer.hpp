// TokenAuthorizer: the authorizer of Hivemind's moderated swarms, by access tokens and RSA signatures.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "skep/async/awaitable.hpp"
#include "skep/async/event.hpp"
#include "skep/codec/auth_messages.hpp"
#include "skep/core/bytes.hpp"
#include "skep/core/error.hpp"
#include "skep/core/result.hpp"
#include "skep/core/time.hpp"
#include "skep/crypto/base64.hpp"
#include "skep/crypto/hash.hpp"
#include "skep/crypto/random.hpp"
#include "skep/crypto/rsa.hpp"
#include "skep/crypto/rsa_public_key.hpp"
#include "skep/dht/auth_error.hpp"
#include "skep/dht/authorizer.hpp"
#include "skep/dht/nonce_memory.hpp"
#include "skep/p2p/peer_id.hpp"

namespace skep::inline v0::dht {

/// Who gives access to a swarm, and how its tokens are judged; what stands in them is its own affair. `SignedTokens` is
/// the usual one.
template <class A>
concept TokenAuthority = requires(A& authority, const codec::AccessToken& token, std::string public_key, WallTime now) {
  { authority.get_token(std::move(public_key)) } -> std::same_as<awaitable<codec::AccessToken>>;
  { authority.is_token_valid(token, now) } -> std::same_as<bool>;
  { authority.does_token_need_refreshing(token, now) } -> std::same_as<bool>;
};

struct TokenAuthorizerOptions {
  /// Refuse requests that do not say for whom they are. Hivemind's never do, so one recipient could replay them to
  /// another; set it where all members run skep.
  bool require_recipient = false;
  std::size_t remembered_requests = NonceMemory::default_capacity;
};

/// Signs as Hivemind's TokenAuthorizerBase does and judges as it does, with two holes closed: a request says for whom
/// it is, and what is remembered against replays is bounded.
///
/// A signature takes about 0.7 ms of the network's thread, a check a fifth of that. *Lifetime:* held by shared_ptr.
template <TokenAuthority A>
class TokenAuthorizer final : public Authorizer {
 public:
  static constexpr std::chrono::duration<double> max_clock_difference = 1min;

  /// @param key  whose public half the authority puts into the token
  explicit TokenAuthorizer(A authority, crypto::RsaPrivateKey key = crypto::RsaPrivateKey::process_wide(),
                           TokenAuthorizerOptions options = {})
      : authority_(std::move(authority)),
        key_(std::move(key)),
        public_key_(crypto::RsaPublicKey(key_).to_openssh()),
        options_(options),
        seen_(options.remembered_requests) {}

  [[nodiscard]] const std::string& public_key() const noexcept { return public_key_; }

  awaitable<void> prepare(WallTime now) override {
    while (!token_ || authority_.does_token_need_refreshing(*token_, now)) {
      if (const auto other = asking_) {  // somebody asks already; the old token serves as long as it is good
        if (!usable(now)) co_await other->wait();
        if (usable(now)) co_return;
        continue;
      }
      asking_ = std::make_shared<Event>(co_await asio::this_coro::executor);
      const Asking done{*this};
      auto token = co_await authority_.get_token(public_key_);
      if (!authority_.is_token_valid(token, now) || as_text(token.public_key) != public_key_) {
        throw Error(auth_errc::invalid_token,
                    "the authority of this swarm gave an access token that is over, or not for our key");
      }
      token_ = std::move(token);
      co_return;
    }
  }

  SignedRequest sign_request(const p2p::PeerId& to, Bytes request, WallTime now) override {
    codec::RequestAuthInfo auth{token(), {}, now.seconds, nonce_for(to), {}};
    auth.signature = sign(codec::with_auth(auth, request));
    return {codec::with_auth(auth, request), std::move(auth.nonce)};
  }

  Result<Bytes> validate_request(const p2p::PeerId& self, BytesView request, WallTime now) override {
    auto parts = codec::split_auth<codec::RequestAuthInfo>(request);
    if (!parts) return reason(parts.error());
    codec::RequestAuthInfo& auth = parts->auth;
    const Bytes signature = std::exchange(auth.signature, {});
    if (!auth.client_access_token) return auth_errc::missing;
    if (!(std::abs(auth.time - now.seconds) <= max_clock_difference.count())) return auth_errc::wrong_time;
    if (!is_for(self, auth)) return auth_errc::wrong_recipient;
    const auto judged = judge(*auth.client_access_token, codec::with_auth(auth, parts->rest), signature, now);
    if (!judged) return judged.error();
    switch (seen_.remember(auth.client_access_token->public_key, auth.nonce, now)) {
      case NonceMemory::Outcome::seen: return auth_errc::replayed;
      case NonceMemory::Outcome::full: return auth_errc::busy;
      default: return std::move(auth.nonce);
    }
  }

  Bytes sign_response(BytesView response, BytesView nonce) override {
    codec::ResponseAuthInfo auth{token(), to_bytes(nonce), {}};
    auth.signature = sign(codec::with_auth(auth, response));
    return codec::with_auth(auth, response);
  }

  Result<void> validate_response(BytesView response, BytesView nonce, WallTime now) override {
    auto parts = codec::split_auth<codec::ResponseAuthInfo>(response);
    if (!parts) return reason(parts.error());
    codec::ResponseAuthInfo& auth = parts->auth;
    const Bytes signature = std::exchange(auth.signature, {});
    if (!auth.service_access_token) return auth_errc::missing;
    if (!std::ranges::equal(auth.nonce, nonce)) return auth_errc::wrong_nonce;
    return judge(*auth.service_access_token, codec::with_auth(auth, parts->rest), signature, now);
  }

 private:
  /// Nonces are eight random bytes, and here behind them whom the request is for: Hivemind takes nonces of any length,
  /// and a field of ours it would not sign over. Its own `service_public_key` cannot do: nobody knows the key of a peer
  /// before the first answer.
  static constexpr std::size_t random_size = 8;
  static constexpr std::size_t recipient_size = 16;

  struct Asking {  // wakes those who wait, however the asking ends
    TokenAuthorizer& self;
    ~Asking() { std::exchange(self.asking_, nullptr)->set(); }
  };

  static std::error_code reason(const std::error_code& error) {
    return error == errc::not_found ? make_error_code(auth_errc::missing) : error;
  }

  static Bytes nonce_for(const p2p::PeerId& peer) {
    const auto random = crypto::random_array<random_size>();
    const auto digest = crypto::sha256(peer.bytes());
    Bytes nonce(random.begin(), random.end());
    append(nonce, BytesView(digest).first(recipient_size));
    return nonce;
  }
  bool is_for(const p2p::PeerId& self, const codec::RequestAuthInfo& auth) const {
    const bool named = auth.nonce.size() == random_size + recipient_size;
    if (named) {
      const auto digest = crypto::sha256(self.bytes());
      if (!std::equal(digest.begin(), digest.begin() + recipient_size, auth.nonce.begin() + random_size)) return false;
    }
    if (!auth.service_public_key.empty()) return as_text(auth.service_public_key) == public_key_;
    return named || !options_.require_recipient;
  }

  Result<void> judge(const codec::AccessToken& token, BytesView message, BytesView signature, WallTime now) {
    if (!authority_.is_token_valid(token, now)) return auth_errc::invalid_token;
    const auto signer = crypto::RsaPublicKey::from_openssh(as_text(token.public_key));
    if (!signer) return auth_errc::invalid_token;
    const auto bytes = crypto::from_base64(as_text(signature));
    if (!bytes || !signer->verify_pss(message, *bytes)) return auth_errc::bad_signature;
    return {};
  }

  [[nodiscard]] bool usable(WallTime now) { return token_ && authority_.is_token_valid(*token_, now); }
  [[nodiscard]] const codec::AccessToken& token() const {
    if (!token_) throw Error(auth_errc::invalid_token, "there is no access token yet; await prepare() before signing");
    return *token_;
  }
  [[nodiscard]] Bytes sign(const Bytes& message) const { return to_bytes(crypto::base64(key_.sign_pss(message))); }

  A authority_;
  crypto::RsaPrivateKey key_;
  std::string public_key_;
  TokenAuthorizerOptions options_;
  std::optional<codec::AccessToken> token_;
  std::shared_ptr<Event> asking_;
  NonceMemory seen_;
};

}  // namespace skep::inline v0::dht
