// The members of a moderated swarm, for tests: authorizers that one authority gives access to.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "skep/async/awaitable.hpp"
#include "skep/core/time.hpp"
#include "skep/crypto/rsa.hpp"
#include "skep/crypto/rsa_public_key.hpp"
#include "skep/dht/access_token.hpp"
#include "skep/dht/token_authorizer.hpp"

namespace skep::test {

class Members {
 public:
  /// A further member, for one node.
  [[nodiscard]] std::shared_ptr<dht::Authorizer> join() const {
    const auto ask = [authority = authority_](std::string public_key) -> awaitable<codec::AccessToken> {
      const std::chrono::duration<double> since = std::chrono::system_clock::now().time_since_epoch();
      co_return dht::issue_token(authority, "member", public_key, WallTime{since.count()} + 1h);
    };
    return std::make_shared<dht::TokenAuthorizer<dht::SignedTokens>>(
        dht::SignedTokens{crypto::RsaPublicKey(authority_), ask});
  }

 private:
  crypto::RsaPrivateKey authority_ = crypto::RsaPrivateKey::generate();
};

}  // namespace skep::test
