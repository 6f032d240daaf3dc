// DHTID: where nodes and keys stand in Hivemind's 160-bit key space.
#pragma once

#include "skep/codec/msgpack.hpp"
#include "skep/core/bytes.hpp"
#include "skep/crypto/hash.hpp"
#include "skep/kademlia/id.hpp"

namespace skep::inline v0::dht {

namespace msgpack = codec::msgpack;

/// An id of a node or a key; 20 bytes, big-endian.
using DHTID = kademlia::Id<160>;

/// The id of a key: SHA-1 of the bytes of a binary key, of its MessagePack for any other ("key" and its bytes differ).
[[nodiscard]] inline DHTID key_id(const msgpack::Value& key) {
  if (const auto* raw = key.get_if<Bytes>()) return DHTID(crypto::sha1(*raw));
  return DHTID(crypto::sha1(msgpack::encode(key)));
}

}  // namespace skep::inline v0::dht
