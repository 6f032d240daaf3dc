// StreamCall: the machine of a streaming call, at either end. Records in and out, with deadlines on every wait.
#pragma once

#include <algorithm>
#include <array>
#include <asio/error.hpp>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <system_error>
#include <utility>

#include "skep/async/awaitable.hpp"
#include "skep/async/cancellation.hpp"
#include "skep/async/deadline_wheel.hpp"
#include "skep/codec/rpc_messages.hpp"
#include "skep/core/bytes.hpp"
#include "skep/core/error.hpp"
#include "skep/core/time.hpp"
#include "skep/p2p/connection.hpp"
#include "skep/p2p/payload.hpp"
#include "skep/p2p/peer_id.hpp"
#include "skep/p2p/protocol_greeting.hpp"
#include "skep/p2p/stream_input.hpp"
#include "skep/p2p/stream_machine.hpp"
#include "skep/p2p/turn.hpp"

namespace skep::inline v0::p2p {

/// Bounds of a streaming call.
struct StreamLimits {
  Duration timeout = 60s;                     ///< of every single wait, to send or to receive
  std::size_t max_message = 8 * 1024 * 1024;  ///< a longer one fails with errc::limit_exceeded before allocation
};

/// The machine of a streaming call (wire protocol 6.2). What arrives lands in the sink of whoever receives, or waits.
class StreamCall final : public StreamMachine, public std::enable_shared_from_this<StreamCall> {
 public:
  enum class Side { caller, callee };

  StreamCall(Side side, std::shared_ptr<ConnectionHost> host, PeerId peer, std::string method, StreamLimits limits)
      : side_(side),
        host_(std::move(host)),
        peer_(std::move(peer)),
        method_(std::move(method)),
        limits_(limits),
        reader_(host_->executor()),
        writer_(host_->executor()),
        input_(limits.max_message) {}

  [[nodiscard]] const PeerId& peer() const noexcept { return peer_; }
  [[nodiscard]] const std::string& method() const noexcept { return method_; }
  [[nodiscard]] const StreamLimits& limits() const noexcept { return limits_; }

  /// Caller: opens the stream; the greeting leaves with the first message.
  [[nodiscard]] Result<void> start(Connection& connection) {
    greeting_ = protocol_greeting(method_);
    if (auto opened = connection.open(shared_from_this()); !opened) return opened;
    write(greeting_, Urgency::lazy);
    return {};
  }

  /// Receives one message into `sink`. @return false at the end of the other side's messages
  static awaitable<bool> receive(std::shared_ptr<StreamCall> self, AnyBodySink& sink) {
    if (self->receiving_) throw Error(skep::errc::invalid_argument, self->who() + " is received from twice at a time");
    const Receiving receiving(*self);
    self->input_.want(sink);
    self->took(self->input_.resume());
    const SteadyTime deadline = deadline_after(self->host_->now(), self->limits_.timeout);
    while (!self->settled()) {
      self->host_->deadlines().insert(self->read_limit_, deadline);
      co_await self->reader_.wait([self = self.get()] { self->cancel_receive(); });
      self->host_->deadlines().cancel(self->read_limit_);
    }
    if (self->input_.got()) co_return true;
    if (self->cancelled_) throw_cancelled();
    if (self->error_) throw Error(self->error_, self->who() + ": " + self->error_.message());
    if (self->side_ == Side::caller && self->input_.ended()) {
      const auto words = codec::RPCError::decode(self->input_.last_words());
      throw RemoteError(self->who(), words ? words->message : std::string());
    }
    co_return false;
  }

  /// Sends one record and returns when its storage has been let go.
  static awaitable<void> send(std::shared_ptr<StreamCall> self, codec::StreamRecordHead::Kind kind, Payload body) {
    if (self->sending_) throw Error(skep::errc::invalid_argument, self->who() + " is sent to twice at a time");
    if (self->output_ended_) throw Error(skep::errc::invalid_argument, self->who() + " takes no more messages");
    if (!self->attached()) {
      throw Error(self->error_ ? self->error_ : make_error_code(skep::errc::closed),
                  self->who() + (self->error_ ? ": " + self->error_.message() : std::string(" has ended")));
    }
    self->send_error_ = {};
    const Sending sending(*self);
    if (kind == codec::StreamRecordHead::Kind::error) self->output_ended_ = true;
    const auto head = codec::StreamRecordHead{kind, body.size()}.encode();
    self->record_ = std::move(body);
    self->record_head_ = head;
    self->write(self->record_head_);
    self->write(self->record_.head());
    for (const auto& segment : self->record_.segments()) self->write(segment.bytes);
    const SteadyTime deadline = deadline_after(self->host_->now(), self->limits_.timeout);
    while (self->sending_) {
      self->host_->deadlines().insert(self->write_limit_, deadline);
      co_await self->writer_.wait(
          [self = self.get()] { self->fail(asio::error::make_error_code(asio::error::operation_aborted)); });
      self->host_->deadlines().cancel(self->write_limit_);
    }
    if (is_cancellation(self->send_error_)) throw_cancelled();
    if (self->send_error_) throw Error(self->send_error_, self->who() + ": " + self->send_error_.message());
  }

  /// Gives up at once, in both directions.
  void abandon() { fail(skep::errc::closed); }

  /// Caller: nobody holds the handle any more.
  void release() {
    if (remote_closed() && drained()) {
      leave();
    } else {
      abandon();
    }
  }

 private:
  friend class StreamService;

  struct Limit final : Deadline {
    explicit Limit(StreamCall& of) : call(of) {}
    void expired() noexcept override { call.fail(skep::errc::timed_out); }
    StreamCall& call;
  };
  // While somebody receives or sends; also when that coroutine is destroyed in the middle.
  struct Receiving {
    explicit Receiving(StreamCall& of) noexcept : call(of) { call.receiving_ = true; }
    ~Receiving() {
      call.receiving_ = call.cancelled_ = false;
      call.input_.unwant();
    }
    Receiving(const Receiving&) = delete;
    Receiving& operator=(const Receiving&) = delete;
    StreamCall& call;
  };
  struct Sending {
    explicit Sending(StreamCall& of) noexcept : call(of) { call.sending_ = true; }
    ~Sending() {
      if (call.sending_) call.fail(skep::errc::cancelled);
      call.record_ = {};
    }
    Sending(const Sending&) = delete;
    Sending& operator=(const Sending&) = delete;
    StreamCall& call;
  };

  [[nodiscard]] std::string who() const {
    return (side_ == Side::caller ? "the stream of " + method_ + " to " : "the stream of " + method_ + " from ") +
           peer_.to_string();
  }

  // ---- the other side's records

  void on_data(BytesView piece) override {
    const auto keep = shared_from_this();
    if (!greeting_reader_.done(greeting_)) {
      const auto n = greeting_reader_.receive(greeting_, piece);
      if (!n) return fail(n.error());
      piece = piece.subspan(*n);
      consumed(*n);
    }
    took(input_.receive(piece));
  }

  // Some of what had arrived is out of the way, or is not what it should be.
  void took(const Result<std::size_t>& used) {
    if (!used) return fail(used.error());
    consumed(*used);
    if (input_.body_left() > 0) expect(input_.body_left());
    if (side_ == Side::callee && input_.ended()) {
      if (input_.waiting() > 0) return fail(skep::errc::malformed);  // the caller promised silence
      if (draining_) return close_service();
    }
    wake_reader();
  }

  // Whether a receiver knows how its wait ends.
  [[nodiscard]] bool settled() noexcept {
    if (input_.got() || input_.ended() || cancelled_ || error_) return true;
    if (side_ == Side::callee || !eof_) return false;
    if (input_.inside_record() || input_.waiting() > 0 || !greeting_reader_.done(greeting_)) {
      error_ = make_error_code(skep::errc::truncated);
    }
    return true;
  }

  void cancel_receive() {
    const auto keep = shared_from_this();
    cancelled_ = true;
    if (input_.inside_record()) fail(asio::error::make_error_code(asio::error::operation_aborted));
    input_.unwant();  // what comes before the reader wakes is for the next one
    wake_reader();
  }

  // ---- the end of things

  void on_end() override {
    const auto keep = shared_from_this();
    eof_ = true;
    if (side_ == Side::callee) {
      if (!finished_) fail(skep::errc::cancelled);  // the caller wants no more answers
      return;
    }
    stop_sending(skep::errc::closed);  // the peer reads no more
    wake_reader();
  }
  void on_lost(std::error_code why) override {
    if (side_ == Side::caller && eof_) return stop_sending(why);
    fail(why);
  }
  void on_drained() override {
    if (!sending_) return;
    sending_ = false;
    wake(writer_);
  }

  void fail(std::error_code why) {
    const auto keep = shared_from_this();
    if (!error_) error_ = why;
    reset();
    wake_reader();
    stop_sending(why);
    if (on_failure_) std::exchange(on_failure_, nullptr)();
  }
  void stop_sending(std::error_code why) {
    if (!sending_) return;
    send_error_ = why;
    sending_ = false;
    reset();  // a message that was abandoned half way
    wake(writer_);
  }

  void wake_reader() {
    if (reader_.waiting() && settled()) wake(reader_);
  }
  void wake(Waiter& waiter) { host_->turn().later(std::shared_ptr<Runnable>(shared_from_this(), &waiter)); }

  // Callee: the handler is done; what the caller still sends is read to its end before the stream is closed.
  void end_service() {
    const auto keep = shared_from_this();
    draining_ = true;
    output_ended_ = true;
    host_->deadlines().insert(read_limit_, deadline_after(host_->now(), limits_.timeout));
    input_.discard();
    took(input_.resume());
  }
  void close_service() {
    finished_ = true;
    finish();
    host_->deadlines().insert(read_limit_, deadline_after(host_->now(), limits_.timeout));  // for the caller to close
  }

  Side side_;
  std::shared_ptr<ConnectionHost> host_;
  PeerId peer_;
  std::string method_;
  StreamLimits limits_;
  Waiter reader_;
  Waiter writer_;
  Limit read_limit_{*this};
  Limit write_limit_{*this};

  Bytes greeting_;
  GreetingReader greeting_reader_;
  StreamInput input_;
  std::error_code error_;
  bool receiving_ = false;
  bool cancelled_ = false;  // the receive that is under way
  bool eof_ = false;
  bool draining_ = false;

  Payload record_;
  std::array<std::uint8_t, codec::StreamRecordHead::size> record_head_{};
  std::error_code send_error_;
  bool sending_ = false;
  bool output_ended_ = false;
  bool finished_ = false;
  std::function<void()> on_failure_;  // callee: stops the handler
};

}  // namespace skep::inline v0::p2p
