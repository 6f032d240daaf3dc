// NonceMemory: which requests were here lately, so that a replay is known.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <unordered_set>
#include <utility>

#include "skep/core/bytes.hpp"
#include "skep/core/time.hpp"
#include "skep/crypto/hash.hpp"

namespace skep::inline v0::dht {

/// Remembers the nonces of each signer for at least `lifetime` and at most twice as long, in two generations, so that
/// forgetting costs nothing. Bounded: when a generation is full, nothing new is admitted until it is over. Pure.
class NonceMemory {
 public:
  static constexpr std::chrono::duration<double> lifetime = 2min;  ///< a request's clock may be a minute off, both ways
  static constexpr std::size_t default_capacity = 1 << 18;         ///< 2,184 requests a second; up to 32 MiB

  enum class Outcome { fresh, seen, full };

  explicit NonceMemory(std::size_t capacity = default_capacity) : capacity_(capacity) {}

  /// Whether a nonce is new; then it is remembered. Nonces of different signers never collide.
  Outcome remember(BytesView signer, BytesView nonce, WallTime now) {
    turn(now);
    const Key key = key_of(signer, nonce);
    if (young_.contains(key) || old_.contains(key)) return Outcome::seen;
    if (young_.size() >= capacity_) return Outcome::full;
    young_.insert(key);
    return Outcome::fresh;
  }

  [[nodiscard]] std::size_t size() const noexcept { return young_.size() + old_.size(); }

 private:
  using Key = std::array<std::uint8_t, 16>;  // hashed, so that nonces of any length take the same room
  struct Hash {
    std::size_t operator()(const Key& key) const noexcept {
      std::size_t first = 0;
      std::memcpy(&first, key.data(), sizeof first);
      return first;
    }
  };
  using Generation = std::unordered_set<Key, Hash>;

  static Key key_of(BytesView signer, BytesView nonce) {
    const auto digest = crypto::sha256(crypto::sha256(signer), nonce);
    Key key;
    std::copy_n(digest.begin(), key.size(), key.begin());
    return key;
  }

  void turn(WallTime now) {
    if (now < began_) began_ = now;  // the clock was set back: rather remember too long
    if (now - began_ < lifetime) return;
    old_ = now - began_ < 2 * lifetime ? std::exchange(young_, {}) : Generation();
    young_.clear();
    began_ = now;
  }

  std::size_t capacity_;
  WallTime began_;
  Generation young_;
  Generation old_;
};

}  // namespace skep::inline v0::dht
