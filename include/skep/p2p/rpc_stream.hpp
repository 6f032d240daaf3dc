// Stream: a call with many messages in both directions, Hivemind's streaming RPC, at either end.
#pragma once

#include <memory>
#include <optional>
#include <utility>

#include "skep/async/awaitable.hpp"
#include "skep/codec/rpc_messages.hpp"
#include "skep/core/bytes.hpp"
#include "skep/p2p/network.hpp"
#include "skep/p2p/payload.hpp"
#include "skep/p2p/peer_id.hpp"
#include "skep/p2p/stream_call.hpp"

namespace skep::inline v0::p2p {

/// A handle on a streaming call; models `MessageStream`. Movable; one reader and one writer at a time.
///
/// *Lifetime:* the caller's handle resets the stream when it is destroyed before the other side has ended; the
/// handler's leaves that to the end of the handler. *Cancellation:* of a send, or of a receive in the middle of a
/// message, resets the stream. *Errors:* RemoteError with the peer's words; Error(errc::timed_out),
/// Error(errc::closed), Error(errc::stream_reset), Error(errc::protocol_not_supported), Error(errc::limit_exceeded).
class Stream {
 public:
  Stream() = default;
  explicit Stream(std::shared_ptr<StreamCall> call, bool owns) noexcept : call_(std::move(call)), owns_(owns) {}
  Stream(Stream&&) noexcept = default;
  Stream& operator=(Stream&& other) noexcept {
    if (this != &other) {
      let_go();
      call_ = std::move(other.call_);
      owns_ = other.owns_;
    }
    return *this;
  }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ~Stream() { let_go(); }

  /// Who is at the other end.
  [[nodiscard]] PeerId peer() const { return call_->peer(); }
  /// Sends one message; returns when its storage has been let go.
  [[nodiscard]] awaitable<void> send(Payload message) {
    return StreamCall::send(call_, codec::StreamRecordHead::Kind::message, std::move(message));
  }
  /// Caller only: says that no more messages will come. The answers may still be received.
  [[nodiscard]] awaitable<void> end_of_input() {
    return StreamCall::send(call_, codec::StreamRecordHead::Kind::error, Payload());
  }
  /// The next message, or nullopt when the other side has ended.
  [[nodiscard]] awaitable<std::optional<Bytes>> receive() { return receive_bytes(call_); }
  /// The next message, into a sink. @return false when the other side has ended
  [[nodiscard]] awaitable<bool> receive_into(std::shared_ptr<AnyBodySink> sink) {
    return receive_sink(call_, std::move(sink));
  }
  /// Gives up at once, in both directions.
  void reset() {
    if (call_) call_->abandon();
  }

 private:
  static awaitable<std::optional<Bytes>> receive_bytes(std::shared_ptr<StreamCall> call) {
    BytesSink sink(call->limits().max_message);
    const bool got = co_await StreamCall::receive(std::move(call), sink);
    if (!got) co_return std::nullopt;
    co_return std::move(sink).take();
  }
  static awaitable<bool> receive_sink(std::shared_ptr<StreamCall> call, std::shared_ptr<AnyBodySink> sink) {
    const bool got = co_await StreamCall::receive(std::move(call), *sink);
    co_return got;
  }
  void let_go() noexcept {
    if (const auto call = std::exchange(call_, nullptr); call && owns_) call->release();
  }

  std::shared_ptr<StreamCall> call_;
  bool owns_ = false;
};

static_assert(MessageStream<Stream>);

}  // namespace skep::inline v0::p2p
