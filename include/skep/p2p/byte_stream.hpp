// ByteStream: a stream read and written as plain bytes by a coroutine, for the small protocols (identify, ping, kad).
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <string>
#include <system_error>
#include <utility>

#include "skep/async/awaitable.hpp"
#include "skep/async/cancellation.hpp"
#include "skep/async/deadline_wheel.hpp"
#include "skep/core/bytes.hpp"
#include "skep/core/error.hpp"
#include "skep/core/time.hpp"
#include "skep/p2p/connection.hpp"
#include "skep/p2p/protocol_greeting.hpp"
#include "skep/p2p/stream_machine.hpp"
#include "skep/p2p/turn.hpp"

namespace skep::inline v0::p2p {

/// One reader and one writer at a time. A wait that takes longer than the limit, or is cancelled, resets the stream.
/// What is not read waits here, bounded by the window of yamux.
class ByteStream final : public StreamMachine, public std::enable_shared_from_this<ByteStream> {
 public:
  /// @param limit  of every single wait
  ByteStream(std::shared_ptr<ConnectionHost> host, Duration limit)
      : host_(std::move(host)), limit_(limit), waiter_(host_->executor()) {}

  /// Opens a stream for a protocol. The greeting leaves with the first bytes; whether the peer speaks the protocol
  /// shows at the first read. @throws std::system_error
  [[nodiscard]] static std::shared_ptr<ByteStream> open(std::shared_ptr<ConnectionHost> host, Connection& connection,
                                                        std::string_view protocol, Duration limit) {
    auto stream = std::make_shared<ByteStream>(std::move(host), limit);
    stream->greeting_ = protocol_greeting(protocol);
    if (const auto opened = connection.open(stream); !opened) throw std::system_error(opened.error());
    stream->StreamMachine::write(stream->greeting_, Urgency::lazy);
    return stream;
  }

  /// Some bytes, at least one; none at the end of the peer's half. @throws std::system_error
  [[nodiscard]] static awaitable<Bytes> read(std::shared_ptr<ByteStream> self) {
    while (self->inbox_.empty() && !self->ended_ && !self->error_) co_await self->sleep();
    if (!self->inbox_.empty()) {
      self->consumed(self->inbox_.size());
      co_return std::exchange(self->inbox_, {});
    }
    if (self->error_) throw std::system_error(self->error_);
    co_return Bytes();
  }

  /// Writes bytes and waits until they are on their way. @throws std::system_error
  [[nodiscard]] static awaitable<void> write(std::shared_ptr<ByteStream> self, Bytes bytes) {
    if (self->error_) throw std::system_error(self->error_);
    self->outbox_ = std::move(bytes);
    self->StreamMachine::write(self->outbox_);
    while (self->attached() && !self->drained() && !self->error_) co_await self->sleep();
    if (self->error_) throw std::system_error(self->error_);
  }

  /// Closes our half after what was written.
  void finish() { StreamMachine::finish(); }
  /// The conversation is over: closes our half without haste and drops what may still come.
  void release() { leave(); }
  void abandon() { fail(skep::errc::closed); }

 private:
  struct Limit final : Deadline {
    explicit Limit(ByteStream& of) : stream(of) {}
    void expired() noexcept override { stream.fail(skep::errc::timed_out); }
    ByteStream& stream;
  };

  void on_data(BytesView piece) override {
    if (!greeting_reader_.done(greeting_)) {
      const auto n = greeting_reader_.receive(greeting_, piece);
      if (!n) return fail(n.error());
      consumed(*n);
      piece = piece.subspan(*n);
      if (piece.empty()) return;
    }
    append(inbox_, piece);
    wake();
  }
  void on_end() override {
    ended_ = true;
    if (!greeting_reader_.done(greeting_)) return fail(skep::errc::closed);
    wake();
  }
  void on_lost(std::error_code why) override {
    if (!(ended_ && drained())) fail(why);
  }
  void on_drained() override { wake(); }

  void fail(std::error_code why) {
    const auto keep = shared_from_this();
    if (!error_) error_ = why;
    reset();
    wake();
  }

  [[nodiscard]] awaitable<void> sleep() {
    host_->deadlines().insert(wait_limit_, deadline_after(host_->now(), limit_));
    co_await waiter_.wait([this] { fail(asio::error::make_error_code(asio::error::operation_aborted)); });
    host_->deadlines().cancel(wait_limit_);
  }
  void wake() {
    if (waiter_.waiting()) host_->turn().later(std::shared_ptr<Runnable>(shared_from_this(), &waiter_));
  }

  std::shared_ptr<ConnectionHost> host_;
  Duration limit_;
  Limit wait_limit_{*this};
  Waiter waiter_;
  Bytes greeting_;
  GreetingReader greeting_reader_;
  Bytes inbox_;
  Bytes outbox_;
  std::error_code error_;
  bool ended_ = false;
};

}  // namespace skep::inline v0::p2p
