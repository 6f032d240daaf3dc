// Host: a peer of a network in one process and in virtual time.
#pragma once

#include <chrono>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "skep/async/awaitable.hpp"
#include "skep/async/cancellation.hpp"
#include "skep/async/with_timeout.hpp"
#include "skep/core/bytes.hpp"
#include "skep/core/error.hpp"
#include "skep/core/random.hpp"
#include "skep/core/time.hpp"
#include "skep/p2p/network.hpp"
#include "skep/p2p/payload.hpp"
#include "skep/p2p/peer_id.hpp"
#include "skep/sim/stream.hpp"
#include "skep/sim/timeline.hpp"
#include "skep/sim/world.hpp"

namespace skep::inline v0::sim {

/// A peer of the simulation; models `p2p::Network`. A handle: copies are the same peer.
class Host {
 public:
  using Stream = sim::Stream;

  explicit Host(World& world) : peer_(world.add()) {}

  [[nodiscard]] World& world() const noexcept { return peer_->world; }

  [[nodiscard]] p2p::PeerId self() const { return peer_->id; }
  [[nodiscard]] SteadyTime steady_now() const noexcept { return peer_->world.time_.now(); }
  [[nodiscard]] WallTime wall_now() const noexcept { return peer_->world.time_.wall_now() + peer_->skew; }
  /// Sets this peer's wall clock wrong.
  void skew_wall_clock(std::chrono::duration<double> by) noexcept { peer_->skew = by; }
  /// Calls back when the time has come, unless the alarm is destroyed before: what time limits stand on.
  [[nodiscard]] Timeline::Alarm alarm(SteadyTime when, std::function<void()> then) {
    return {peer_->world.time_, when, std::move(then)};
  }
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

  static awaitable<Bytes> exchange(PeerPtr self, p2p::PeerId to, std::string name, Bytes body,
                                   p2p::CallOptions options) {
    if (body.size() > p2p::max_unary_size) {
      throw Error(errc::limit_exceeded, "a request of " + std::to_string(body.size()) + " bytes to " + name +
                                            " is longer than a unary call may be (4 MiB); use a streaming call");
    }
    World& world = self->world;
    const std::string_view method = world.transcript_.call(name);
    const PeerPtr target = world.find(to);
    const Duration way = world.latency_(world.random_, {self->index, target ? target->index : 0}) / 2;
    co_await world.travel(self, target, method, false, body.size(), way);
    if (!target || target->closed) {
      co_await world.travel(target, self, method, true, 0, way);
      throw Error(errc::unreachable, "cannot reach " + to.to_string());
    }
    std::optional<std::string> failure;
    Bytes answer;
    const auto registered = target->handlers.find(name);
    if (registered == target->handlers.end()) {
      co_await world.travel(target, self, method, true, 0, way);
      throw Error(errc::refused, to.to_string() + " does not offer " + name);
    }
    const auto [handler, sinks] = registered->second;
    p2p::Request request{self->id, std::move(name), std::move(body), nullptr};
    try {
      if (sinks) {
        request.sink = sinks(self->id);
        Stream::fill(*request.sink, request.body);
        request.body.clear();
      }
      auto reply = co_await handler(std::move(request));
      answer = std::move(reply).flatten();
    } catch (const std::exception& error) {
      if (is_cancellation(std::current_exception())) throw;
      failure = error.what();
    }
    co_await world.travel(target, self, method, true, answer.size(), way);
    if (failure) throw RemoteError(to.to_string() + " " + std::string(method), *failure);
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
    if (!target || !target->alive || target->closed || target->island != self->island) {
      throw Error(errc::unreachable, "cannot reach " + to.to_string());
    }
    const auto handler = target->stream_handlers.find(method);
    if (handler == target->stream_handlers.end()) {
      throw Error(errc::refused, to.to_string() + " does not offer " + method);
    }
    (void)world.transcript_.call(method);
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
