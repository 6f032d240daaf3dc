// Stream: a streaming call between two simulated peers.
#pragma once

#include <algorithm>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "skep/async/awaitable.hpp"
#include "skep/async/event.hpp"
#include "skep/core/bytes.hpp"
#include "skep/core/error.hpp"
#include "skep/p2p/network.hpp"
#include "skep/p2p/payload.hpp"
#include "skep/p2p/peer_id.hpp"

namespace skep::inline v0::sim {

/// One end of a stream of messages that arrive in order and at once. Moves, does not copy; destroying it resets.
class Stream {
 public:
  /// The two ends: the caller's first.
  [[nodiscard]] static std::pair<Stream, Stream> make(const Executor& executor, p2p::PeerId caller,
                                                      p2p::PeerId callee) {
    auto out = std::make_shared<Pipe>(executor);
    auto back = std::make_shared<Pipe>(executor);
    return {Stream(std::move(callee), back, out), Stream(std::move(caller), out, back)};
  }

  Stream(Stream&&) noexcept = default;
  Stream& operator=(Stream&& other) noexcept {
    if (this != &other) reset();
    peer_ = std::move(other.peer_);
    in_ = std::move(other.in_);
    out_ = std::move(other.out_);
    return *this;
  }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ~Stream() { reset(); }

  [[nodiscard]] p2p::PeerId peer() const { return peer_; }

  [[nodiscard]] awaitable<void> send(p2p::Payload message) {
    if (out_->reset) throw Error(errc::closed, "the stream was reset");
    out_->messages.push_back(std::move(message).flatten());
    out_->changed.set();
    co_return;
  }
  [[nodiscard]] awaitable<void> end_of_input() {
    out_->end();
    co_return;
  }
  [[nodiscard]] awaitable<std::optional<Bytes>> receive() {
    const auto in = in_;
    while (in->messages.empty() && !in->ended && !in->reset) {
      in->changed.reset();
      co_await in->changed.wait();
    }
    if (!in->messages.empty()) {
      Bytes message = std::move(in->messages.front());
      in->messages.pop_front();
      co_return message;
    }
    if (!in->ended) throw Error(errc::closed, "the stream was reset");
    if (in->failure) throw RemoteError(peer_.to_string(), *in->failure);
    co_return std::nullopt;
  }
  [[nodiscard]] awaitable<bool> receive_into(std::shared_ptr<p2p::AnyBodySink> sink) {
    const auto message = co_await receive();
    if (!message) co_return false;
    fill(*sink, *message);
    co_return true;
  }

  /// Ends this side's messages later, with an error record when a text is given: what happens when a handler returns.
  [[nodiscard]] std::function<void(std::optional<std::string>)> ender() const {
    return [out = out_](std::optional<std::string> failure) {
      out->failure = std::move(failure);
      out->end();
    };
  }
  /// Gives up at once; the other side's waits end.
  void reset() noexcept {
    for (const auto& pipe : {std::exchange(in_, nullptr), std::exchange(out_, nullptr)}) {
      if (!pipe || pipe->ended) continue;
      pipe->reset = true;
      pipe->changed.set();
    }
  }

  /// Hands a whole message to a sink; throws what the sink refuses it with.
  static void fill(p2p::AnyBodySink& sink, BytesView message) {
    std::error_code refusal = sink.start(message.size());
    while (!refusal && !message.empty()) {
      const MutableBytes to = sink.destination();
      const std::size_t n = std::min(to.size(), message.size());
      std::copy_n(message.begin(), n, to.begin());
      message = message.subspan(n);
      refusal = sink.filled(n);
    }
    if (refusal) throw Error(refusal, "the receiver refuses the message");
  }

 private:
  struct Pipe {
    explicit Pipe(const Executor& executor) : changed(executor) {}
    void end() {
      ended = true;
      changed.set();
    }
    std::deque<Bytes> messages;
    Event changed;
    std::optional<std::string> failure;
    bool ended = false;
    bool reset = false;
  };

  Stream(p2p::PeerId peer, std::shared_ptr<Pipe> in, std::shared_ptr<Pipe> out)
      : peer_(std::move(peer)), in_(std::move(in)), out_(std::move(out)) {}

  p2p::PeerId peer_;
  std::shared_ptr<Pipe> in_;
  std::shared_ptr<Pipe> out_;
};

static_assert(p2p::MessageStream<Stream>);

}  // namespace skep::inline v0::sim
