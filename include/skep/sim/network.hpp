// World and Host: a network in one process and in virtual time, with latency, loss and peers that fall silent.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>

#include "skep/async/awaitable.hpp"
#include "skep/async/cancellation.hpp"
#include "skep/async/scope.hpp"
#include "skep/async/with_timeout.hpp"
#include "skep/core/bytes.hpp"
#include "skep/core/endian.hpp"
#include "skep/core/error.hpp"
#include "skep/core/random.hpp"
#include "skep/core/time.hpp"
#include "skep/p2p/network.hpp"
#include "skep/p2p/payload.hpp"
#include "skep/p2p/peer_id.hpp"
#include "skep/sim/latency.hpp"
#include "skep/sim/stream.hpp"
#include "skep/sim/timeline.hpp"

namespace skep::inline v0::sim {

struct WorldOptions {
  std::uint64_t seed = 1;
  Latency latency = constant(20ms);
  double loss = 0;  ///< of a message, request or answer, in [0, 1]; the caller then waits until its deadline
};

class Host;

/// What all hosts of one simulation share: time, randomness, the wires. It must outlive every host's coroutines, so
/// declare it before what lives in it.
class World {
 public:
  explicit World(WorldOptions options = {})
      : random_(options.seed), latency_(std::move(options.latency)), loss_(options.loss) {}
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  [[nodiscard]] Timeline& time() noexcept { return time_; }
  [[nodiscard]] Random& random() noexcept { return random_; }
  template <class T>
  T run(awaitable<T> body) {
    return time_.run(std::move(body));
  }

  /// A peer falls silent: it neither answers nor hears, as after a power cut. `revive` brings it back.
  void kill(const p2p::PeerId& peer) { set_alive(peer, false); }
  void revive(const p2p::PeerId& peer) { set_alive(peer, true); }

  /// How often a method was called so far, and all of them.
  [[nodiscard]] std::size_t calls(const std::string& method) const {
    const auto found = calls_.find(method);
    return found == calls_.end() ? 0 : found->second;
  }
  /// A digest of every message so far, its time, ends, method and size: equal for equal seeds.
  [[nodiscard]] std::uint64_t transcript() const noexcept { return transcript_; }

 private:
  friend class Host;

  struct Peer {
    Peer(World& in, std::uint64_t number, p2p::PeerId name, std::uint64_t seed)
        : world(in), index(number), id(std::move(name)), random(seed), children(in.time_.executor(), "sim") {}

    World& world;
    std::uint64_t index;
    p2p::PeerId id;
    Random random;
    Scope children;
    std::unordered_map<std::string, std::pair<p2p::Handler, p2p::SinkFactory>> handlers;
    std::unordered_map<std::string, p2p::StreamHandler<Stream>> stream_handlers;
    std::chrono::duration<double> skew{};
    bool alive = true;
    bool closed = false;
  };

  std::shared_ptr<Peer> add() {
    const std::uint64_t number = peers_.size() + 1;
    Bytes multihash{0x00, 8};
    append_be<std::uint64_t>(multihash, number);
    auto peer = std::make_shared<Peer>(*this, number, *p2p::PeerId::from_bytes(multihash), random_());
    peers_.emplace(peer->id, peer);
    return peer;
  }
  std::shared_ptr<Peer> find(const p2p::PeerId& id) const {
    const auto found = peers_.find(id);
    return found == peers_.end() ? nullptr : found->second.lock();
  }
  void set_alive(const p2p::PeerId& id, bool alive) {
    if (const auto peer = find(id)) peer->alive = alive;
  }

  /// The way of one message; never completes when it is lost.
  awaitable<void> travel(std::uint64_t from, std::uint64_t to, std::size_t size) {
    const Duration way = latency_(random_) / 2;
    const bool lost = loss_ > 0 && random_.unit() < loss_;
    const auto time = static_cast<std::uint64_t>(time_.now().time_since_epoch().count());
    for (const std::uint64_t word : {time, from, to, std::uint64_t{size}}) {
      transcript_ = (transcript_ ^ word) * 0x9e3779b97f4a7c15U;
      transcript_ ^= transcript_ >> 29;
    }
    co_await time_.sleep_until(lost ? SteadyTime::max() : time_.now() + way);
  }

  Timeline time_;
  Random random_;
  Latency latency_;
  double loss_;
  std::unordered_map<p2p::PeerId, std::weak_ptr<Peer>> peers_;
  std::map<std::string, std::size_t> calls_;
  std::uint64_t transcript_ = 0;
};

/// A peer of the simulation; models `p2p::Network`. A handle: copies are the same peer.
class Host {
 public:
  using Stream = sim::Stream;

  explicit Host(World& world) : peer_(world.add()) {}

  [[nodiscard]] p2p::PeerId self() const { return peer_->id; }
  [[nodiscard]] SteadyTime steady_now() const noexcept { return peer_->world.time_.now(); }
  [[nodiscard]] WallTime wall_now() const noexcept { return peer_->world.time_.wall_now() + peer_->skew; }
  /// Sets this peer's wall clock wrong.
  void skew_wall_clock(std::chrono::duration<double> by) noexcept { peer_->skew = by; }
  [[nodiscard]] awaitable<void> sleep_until(SteadyTime when) { return peer_->world.time_.sleep_until(when); }
  [[nodiscard]] Executor executor() const { return peer_->world.time_.executor(); }
  [[nodiscard]] Random& random() noexcept { return peer_->random; }

  [[nodiscard]] awaitable<Bytes> call(p2p::PeerId to, std::string method, p2p::Payload body,
                                      p2p::CallOptions options = {}) {
    return limited(peer_, std::move(to), std::move(method), std::move(body), options);
  }
  [[nodiscard]] awaitable<void> call_into(p2p::PeerId to, std::string method, p2p::Payload body,
                                          std::shared_ptr<p2p::AnyBodySink> sink, p2p::CallOptions options = {}) {
    return limited_into(peer_, std::move(to), std::move(method), std::move(body), std::move(sink), options);
  }
  [[nodiscard]] awaitable<Stream> open(p2p::PeerId to, std::string method, p2p::CallOptions = {}) {
    return connect(peer_, std::move(to), std::move(method));
  }

  void handle(const std::string& method, p2p::Handler handler, p2p::SinkFactory sinks = {}) {
    peer_->handlers[method] = {std::move(handler), std::move(sinks)};
  }
  void handle_stream(const std::string& method, p2p::StreamHandler<Stream> handler) {
    peer_->stream_handlers[method] = std::move(handler);
  }
  void remove_handler(const std::string& method) {
    peer_->handlers.erase(method);
    peer_->stream_handlers.erase(method);
  }
  /// Says good-bye: from now on callers are refused at once. Idempotent.
  void close() {
    peer_->closed = true;
    peer_->children.cancel();
  }

 private:
  using PeerPtr = std::shared_ptr<World::Peer>;

  static awaitable<Bytes> limited(PeerPtr self, p2p::PeerId to, std::string method, p2p::Payload body,
                                  p2p::CallOptions options) {
    if (self->closed) throw Error(errc::closed, "the host is closed");
    Host clock(self);
    auto exchanged = exchange(std::move(self), std::move(to), std::move(method), std::move(body).flatten(), options);
    co_return co_await with_timeout(clock, options.timeout, std::move(exchanged), "a call");
  }

  static awaitable<Bytes> exchange(PeerPtr self, p2p::PeerId to, std::string method, Bytes body,
                                   p2p::CallOptions options) {
    World& world = self->world;
    ++world.calls_[method];
    const PeerPtr target = world.find(to);
    const std::uint64_t index = target ? target->index : 0;
    co_await world.travel(self->index, index, body.size());
    if (!target || target->closed) throw Error(errc::unreachable, "cannot reach " + to.to_string());
    if (!target->alive || !self->alive) co_await world.time_.sleep_until(SteadyTime::max());
    const auto registered = target->handlers.find(method);
    if (registered == target->handlers.end()) throw Error(errc::refused, to.to_string() + " does not offer " + method);

    const auto [handler, sinks] = registered->second;
    p2p::Request request{self->id, method, std::move(body), nullptr};
    if (sinks) {
      request.sink = sinks(self->id);
      Stream::fill(*request.sink, request.body);
      request.body.clear();
    }
    Bytes answer;
    std::optional<std::string> failure;
    try {
      auto reply = co_await handler(std::move(request));
      answer = std::move(reply).flatten();
    } catch (const std::exception& error) {
      if (is_cancellation(std::current_exception())) throw;
      failure = error.what();
    }
    if (!target->alive) co_await world.time_.sleep_until(SteadyTime::max());
    co_await world.travel(index, self->index, answer.size());
    if (failure) throw RemoteError(to.to_string() + " " + method, *failure);
    if (answer.size() > options.max_response) throw Error(errc::limit_exceeded, "the answer is too long");
    co_return answer;
  }

  static awaitable<void> limited_into(PeerPtr self, p2p::PeerId to, std::string method, p2p::Payload body,
                                      std::shared_ptr<p2p::AnyBodySink> sink, p2p::CallOptions options) {
    const Bytes answer = co_await limited(std::move(self), std::move(to), std::move(method), std::move(body), options);
    Stream::fill(*sink, answer);
  }

  static awaitable<Stream> connect(PeerPtr self, p2p::PeerId to, std::string method) {
    World& world = self->world;
    const PeerPtr target = world.find(to);
    if (!target || !target->alive || target->closed) throw Error(errc::unreachable, "cannot reach " + to.to_string());
    const auto handler = target->stream_handlers.find(method);
    if (handler == target->stream_handlers.end()) {
      throw Error(errc::refused, to.to_string() + " does not offer " + method);
    }
    ++world.calls_[method];
    auto [mine, theirs] = Stream::make(world.time_.executor(), self->id, target->id);
    target->children.spawn(serve(handler->second, std::move(theirs)));
    co_return std::move(mine);
  }

  static awaitable<void> serve(p2p::StreamHandler<Stream> handler, Stream stream) {
    const auto end = stream.ender();
    std::optional<std::string> failure;
    try {
      co_await handler(std::move(stream));
    } catch (const std::exception& error) {
      if (is_cancellation(std::current_exception())) throw;
      failure = error.what();
    }
    end(std::move(failure));
  }

  explicit Host(PeerPtr peer) : peer_(std::move(peer)) {}

  PeerPtr peer_;
};

static_assert(p2p::Network<Host>);

}  // namespace skep::inline v0::sim
