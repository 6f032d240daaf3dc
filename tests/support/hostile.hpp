// Bytes as an attacker would send them: every prefix of something valid, and seeded random changes of it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "skep/core/bytes.hpp"
#include "skep/core/random.hpp"

namespace skep_test {

/// One to eight changes: a bit, a byte, a stretch repeated or cut out, a large number put in.
[[nodiscard]] inline skep::Bytes mutated(skep::Bytes bytes, skep::Random& random) {
  for (auto changes = random.below(8) + 1; changes > 0; --changes) {
    if (bytes.empty()) bytes.push_back(0);
    const auto at = static_cast<std::ptrdiff_t>(random.below(bytes.size()));
    auto& byte = bytes[static_cast<std::size_t>(at)];
    const auto length = static_cast<std::ptrdiff_t>(random.below(std::min<std::size_t>(bytes.size(), 16)));
    const auto end = std::min(at + length, std::ssize(bytes));
    switch (random.below(6)) {
      case 0: byte = static_cast<std::uint8_t>(byte ^ (1U << random.below(8))); break;
      case 1: byte = static_cast<std::uint8_t>(random()); break;
      case 2: byte = 0xff; break;
      case 3: bytes.erase(bytes.begin() + at, bytes.begin() + end); break;
      case 4: {
        const skep::Bytes copy(bytes.begin() + at, bytes.begin() + end);
        bytes.insert(bytes.begin() + at, copy.begin(), copy.end());
        break;
      }
      default: bytes.insert(bytes.begin() + at, static_cast<std::size_t>(random.below(9) + 1), 0xff); break;
    }
  }
  return bytes;
}

/// Hands `read(BytesView)` every prefix of `valid` and `rounds` mutations of it, each in an allocation of exactly its
/// size, so that AddressSanitizer sees a read behind the end. What `read` answers is its own business.
template <class Read>
void for_hostile_bytes(const skep::Bytes& valid, Read&& read, std::size_t rounds = 500, std::uint64_t seed = 1) {
  skep::Random random(seed);
  for (std::size_t size = 0; size < valid.size(); size += 1 + size / 256) {
    const skep::Bytes prefix(valid.begin(), valid.begin() + static_cast<std::ptrdiff_t>(size));
    read(skep::BytesView(prefix));
  }
  for (std::size_t round = 0; round < rounds; ++round) {
    skep::Bytes bytes = mutated(valid, random);
    bytes.shrink_to_fit();
    read(skep::BytesView(bytes));
  }
}

}  // namespace skep_test
