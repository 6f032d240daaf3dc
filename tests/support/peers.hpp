// Peer ids that a test can count, without making keys.
#pragma once

#include <cstdint>

#include "skep/core/bytes.hpp"
#include "skep/core/endian.hpp"
#include "skep/p2p/peer_id.hpp"

namespace skep_test {

/// The id of an Ed25519 key whose bytes are all zero but the number at the end.
[[nodiscard]] inline skep::p2p::PeerId peer_number(std::uint32_t number) {
  skep::Bytes key{0x08, 0x01, 0x12, 0x20};
  key.resize(36);
  skep::store_be(key.data() + 32, number);
  return skep::p2p::PeerId::of_public_key(key);
}

}  // namespace skep_test
