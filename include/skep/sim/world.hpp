// World: what all peers of one simulation share: time, randomness, the wires between them and what is wrong with those.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "skep/async/awaitable.hpp"
#include "skep/async/scope.hpp"
#include "skep/core/bytes.hpp"
#include "skep/core/endian.hpp"
#include "skep/core/random.hpp"
#include "skep/core/time.hpp"
#include "skep/p2p/network.hpp"
#include "skep/p2p/peer_id.hpp"
#include "skep/sim/latency.hpp"
#include "skep/sim/stream.hpp"
#include "skep/sim/timeline.hpp"
#include "skep/sim/transcript.hpp"

namespace skep::inline v0::sim {

struct WorldOptions {
  std::uint64_t seed = 1;
  Latency latency = constant(20ms);
  double loss = 0;  ///< of a message, request or answer, in [0, 1]; the caller then waits until its deadline
  std::size_t keep_messages = 0;  ///< how many of the latest messages `transcript().print` can show
};

class Host;

/// What all hosts of one simulation share. It must outlive every host's coroutines, so declare it before what lives in
/// it. One thread.
class World {
 public:
  explicit World(WorldOptions options = {})
      : random_(options.seed),
        latency_(std::move(options.latency)),
        loss_(options.loss),
        transcript_(options.keep_messages) {}
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  [[nodiscard]] Timeline& time() noexcept { return time_; }
  [[nodiscard]] const Timeline& time() const noexcept { return time_; }
  [[nodiscard]] Random& random() noexcept { return random_; }
  template <class T>
  T run(awaitable<T> body) {
    return time_.run(std::move(body));
  }

  /// A peer falls silent: it neither answers nor hears, as after a power cut. `revive` brings it back.
  void kill(const p2p::PeerId& peer) { set_alive(peer, false); }
  void revive(const p2p::PeerId& peer) { set_alive(peer, true); }
  [[nodiscard]] bool is_alive(const p2p::PeerId& peer) const {
    const auto found = find(peer);
    return found && found->alive && !found->closed;
  }

  /// Cuts the wires between these peers and all others; among themselves they go on. May be called again, for a third
  /// part.
  void partition(const std::vector<p2p::PeerId>& peers) {
    ++islands_;
    for (const auto& id : peers) {
      if (const auto peer = find(id)) peer->island = islands_;
    }
  }
  /// Mends the wires.
  void heal() {
    for (const auto& peer : peers_) {
      if (const auto living = peer.lock()) living->island = 0;
    }
  }
  /// From now on messages are lost with this probability, or travel so long.
  void set_loss(double loss) noexcept { loss_ = loss; }
  void set_latency(Latency latency) { latency_ = std::move(latency); }

  /// How often a method was called so far.
  [[nodiscard]] std::size_t calls(std::string_view method) const { return transcript_.calls(method); }
  [[nodiscard]] const Transcript& transcript() const noexcept { return transcript_; }

 private:
  friend class Host;

  struct Peer {
    Peer(World& in, std::size_t number, p2p::PeerId name, std::uint64_t seed)
        : world(in), index(number), id(std::move(name)), random(seed), children(in.time_.executor(), "sim") {}

    World& world;
    std::size_t index;
    p2p::PeerId id;
    Random random;
    Scope children;
    std::unordered_map<std::string, std::pair<p2p::Handler, p2p::SinkFactory>> handlers;
    std::unordered_map<std::string, p2p::StreamHandler<Stream>> stream_handlers;
    std::chrono::duration<double> skew{};
    std::size_t island = 0;
    bool alive = true;
    bool closed = false;
  };
  using PeerPtr = std::shared_ptr<Peer>;

  /// A peer's id is its number, so finding it costs nothing.
  PeerPtr add() {
    const std::size_t number = peers_.size() + 1;
    Bytes multihash{0x00, 8};
    append_be<std::uint64_t>(multihash, number);
    auto peer = std::make_shared<Peer>(*this, number, *p2p::PeerId::from_bytes(multihash), random_());
    peers_.push_back(peer);
    return peer;
  }
  PeerPtr find(const p2p::PeerId& id) const {
    const BytesView multihash = id.bytes();
    if (multihash.size() != 10 || multihash[0] != 0x00) return nullptr;
    const auto number = load_be<std::uint64_t>(multihash.data() + 2);
    return number == 0 || number > peers_.size() ? nullptr : peers_[number - 1].lock();
  }
  void set_alive(const p2p::PeerId& id, bool alive) {
    if (const auto peer = find(id)) peer->alive = alive;
  }

  /// The way of one message; never completes when it does not arrive.
  /// @param to  null: nobody has the id, which shows after a round trip like an answer
  awaitable<void> travel(const PeerPtr& from, const PeerPtr& to, std::string_view method, bool is_answer,
                         std::size_t size, Duration way) {
    Message message{time_.now(), way, from ? from->index : 0, to ? to->index : 0, method, is_answer, size};
    if (from && to) {
      if (from->island != to->island) message.fate = Fate::cut_off;
      if (!from->alive || !to->alive) message.fate = Fate::unheard;
    }
    if (loss_ > 0 && random_.unit() < loss_) message.fate = Fate::lost;
    transcript_.add(message);
    return time_.sleep_until(message.fate == Fate::arrives ? time_.now() + way : SteadyTime::max());
  }

  Timeline time_;
  Random random_;
  Latency latency_;
  double loss_;
  std::size_t islands_ = 0;
  std::vector<std::weak_ptr<Peer>> peers_;
  Transcript transcript_;
};

}  // namespace skep::inline v0::sim
