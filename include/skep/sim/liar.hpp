// Liars: nodes of a simulated swarm that do harm on purpose, to show what the honest ones bear.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "skep/async/awaitable.hpp"
#include "skep/codec/dht_messages.hpp"
#include "skep/core/bytes.hpp"
#include "skep/core/endian.hpp"
#include "skep/core/error.hpp"
#include "skep/core/random.hpp"
#include "skep/core/time.hpp"
#include "skep/dht/key.hpp"
#include "skep/dht/node.hpp"
#include "skep/p2p/network.hpp"
#include "skep/p2p/peer_id.hpp"
#include "skep/sim/network.hpp"

namespace skep::inline v0::sim {

/// What a liar does.
enum class Lie : std::uint8_t {
  denies,      ///< says that it keeps what it is given, and knows of nothing and nobody
  garbage,     ///< answers with random bytes
  hangs,       ///< never answers
  neighbours,  ///< names ids that it has invented around the key: of accomplices, and of peers that do not exist
  floods,      ///< stores junk everywhere under ever new ids, as fast as the victims answer
};
inline constexpr std::size_t lies = 5;

namespace detail {

/// Ids next to a key, so near that no honest node is nearer.
[[nodiscard]] inline dht::DHTID invented_near(const dht::DHTID& key, Random& random) {
  dht::DHTID offset;
  for (std::size_t bit = dht::DHTID::bits - 64; bit < dht::DHTID::bits; ++bit) {
    if (random.below(2) == 1) offset.set_bit(bit);
  }
  return key ^ offset;
}

/// A find answer of a liar: no record, and neighbours that it has invented.
inline Bytes invented_answer(const codec::FindRequest& request, const codec::NodeInfo& liar,
                             const std::vector<p2p::PeerId>& accomplices, Random& random) {
  codec::FindResponse response;
  response.peer = liar;
  for (const Bytes& bytes : request.keys) {
    codec::FindResult& result = response.results.emplace_back();
    const auto key = dht::DHTID::from_bytes(bytes);
    for (int i = 0; key && i < 20; ++i) {
      Bytes nobody{0x00, 8};
      append_be<std::uint64_t>(nobody, (std::uint64_t{1} << 63) + random.below(1 << 20));
      const bool real = !accomplices.empty() && i % 2 == 0;
      result.nearest_node_ids.push_back(to_bytes(invented_near(*key, random).bytes()));
      result.nearest_peer_ids.push_back(real ? to_bytes(accomplices[random.below(accomplices.size())].bytes())
                                             : std::move(nobody));
    }
  }
  return response.encode();
}

/// Junk for one victim: as much as a request holds, under an id that nobody has seen.
inline Bytes junk(Random& random, WallTime now) {
  codec::StoreRequest request;
  request.peer.node_id = to_bytes(dht::DHTID::random(random).bytes());
  for (int i = 0; i < 16; ++i) {
    Bytes value{0xc5, 0x04, 0x00};  // MessagePack: 1,024 binary bytes
    value.resize(value.size() + 1024, static_cast<std::uint8_t>(i));
    request.keys.push_back(to_bytes(dht::DHTID::random(random).bytes()));
    request.subkeys.push_back(Bytes{0xc0});
    request.values.push_back(std::move(value));
    request.expiration_times.push_back((now + 24h).seconds);
    request.in_cache.push_back(i % 2 == 1);
  }
  return request.encode();
}

inline awaitable<void> flood(Host host, std::vector<p2p::PeerId> victims) {
  for (;;) {
    for (const auto& victim : victims) {
      auto call = host.call(victim, "DHTProtocol.rpc_store", junk(host.random(), host.wall_now()), {.timeout = 3s});
      try {
        (void)co_await std::move(call);
        // NOLINTNEXTLINE(bugprone-empty-catch)
      } catch (const Error&) {
        // refused, or too busy: on to the next
      }
    }
    co_await host.sleep_until(host.steady_now() + 1s);
  }
}

}  // namespace detail

/// Makes a node of the DHT lie from now on, until it is closed. What it was before, it may still hold.
/// @param accomplices  peers that play the same game: whom `neighbours` names
/// @param victims      whom `floods` floods
inline void corrupt(dht::Node<Host>& node, Lie lie, std::vector<p2p::PeerId> accomplices = {},
                    std::vector<p2p::PeerId> victims = {}) {
  Host host = node.network();
  const codec::NodeInfo self = node.protocol().info();
  const auto answer = [&](const char* method, auto reply) {
    host.handle(
        method,
        [reply, random = std::make_shared<Random>(host.random()())](p2p::Request request) -> awaitable<p2p::Payload> {
          co_return p2p::Payload(reply(request.body, *random));
        });
  };
  const auto say_yes = [self](const Bytes& body, Random&) {
    codec::StoreResponse response;
    response.peer = self;
    const auto request = codec::StoreRequest::decode(body);
    if (request) response.store_ok.assign(request->keys.size(), true);
    return response.encode();
  };
  switch (lie) {
    case Lie::denies:
      answer("DHTProtocol.rpc_store", say_yes);
      answer("DHTProtocol.rpc_find", [self](const Bytes& body, Random&) {
        codec::FindResponse response;
        response.peer = self;
        if (const auto request = codec::FindRequest::decode(body)) response.results.resize(request->keys.size());
        return response.encode();
      });
      break;
    case Lie::garbage:
      for (const char* method : {"DHTProtocol.rpc_store", "DHTProtocol.rpc_find", "DHTProtocol.rpc_ping"}) {
        answer(method, [](const Bytes&, Random& random) {
          Bytes noise(random.below(2000));
          random.fill(noise);
          return noise;
        });
      }
      break;
    case Lie::hangs:
      for (const char* method : {"DHTProtocol.rpc_store", "DHTProtocol.rpc_find", "DHTProtocol.rpc_ping"}) {
        host.handle(method, [host](p2p::Request) mutable -> awaitable<p2p::Payload> {
          co_await host.sleep_until(SteadyTime::max());
          co_return Bytes{};
        });
      }
      break;
    case Lie::neighbours:
      answer("DHTProtocol.rpc_store", say_yes);
      answer("DHTProtocol.rpc_find", [self, accomplices](const Bytes& body, Random& random) {
        const auto request = codec::FindRequest::decode(body);
        return request ? detail::invented_answer(*request, self, accomplices, random) : Bytes{};
      });
      break;
    case Lie::floods: node.protocol().children.spawn(detail::flood(host, std::move(victims))); break;
  }
}

}  // namespace skep::inline v0::sim
