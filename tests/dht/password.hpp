// Password: the least authorizer, for tests.
#pragma once

#include <cstdint>

#include "skep/dht/authorizer.hpp"

namespace skep_test {

/// Members know a word; the nonce is a count.
struct Password final : skep::dht::Authorizer {
  explicit Password(std::uint8_t secret) : word(secret) {}

  skep::awaitable<void> prepare(skep::WallTime) override {
    if (word == 0) throw skep::Error(skep::dht::auth_errc::invalid_token, "no access");
    co_return;
  }
  skep::dht::SignedRequest sign_request(const skep::p2p::PeerId&, skep::Bytes request, skep::WallTime) override {
    const skep::Bytes nonce{++count};
    return {sign_response(request, nonce), nonce};
  }
  skep::Result<skep::Bytes> validate_request(const skep::p2p::PeerId&, skep::BytesView request,
                                             skep::WallTime) override {
    if (request.size() < 6 || request[0] != 0x0a) return skep::dht::auth_errc::missing;
    if (request[4] != word) return skep::dht::auth_errc::invalid_token;
    return skep::to_bytes(request.subspan(5, 1));
  }
  skep::Bytes sign_response(skep::BytesView response, skep::BytesView nonce) override {
    skep::Bytes out{0x0a, 4, 0x22, 2, word, nonce.front()};
    skep::append(out, response);
    return out;
  }
  skep::Result<void> validate_response(skep::BytesView response, skep::BytesView nonce, skep::WallTime now) override {
    const auto seen = validate_request(*skep::p2p::PeerId::from_bytes(skep::Bytes{0, 1, 7}), response, now);
    if (!seen) return seen.error();
    if (*seen != skep::to_bytes(nonce)) return skep::dht::auth_errc::wrong_nonce;
    return {};
  }

  std::uint8_t word;
  std::uint8_t count = 0;
};

}  // namespace skep_test
