// Stream: a call with many messages in both directions, Hivemind's streaming RPC, at either end.
#pragma once

#include <algorithm>
#include <array>
#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/co_spawn.hpp>
#include <cstddef>
#include <cstring>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
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
#include "skep/p2p/network.hpp"
#include "skep/p2p/payload.hpp"
#include "skep/p2p/protocol_greeting.hpp"
#include "skep/p2p/quota.hpp"
#include "skep/p2p/stream_machine.hpp"
#include "skep/p2p/turn.hpp"

namespace skep::inline v0::p2p {

/// Bounds of a streaming call.
struct StreamLimits {
  Duration timeout = 60s;                     ///< of every single wait, to send or to receive
  std::size_t max_message = 8 * 1024 * 1024;  ///< a longer one fails with errc::limit_exceeded before allocation
};

/// The machine of a streaming call (wire protocol 6.2). What arrives while nobody receives waits in the inbox, which
/// the flow control of yamux bounds; with a receiver it lands in its sink at once.
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
        writer_(host_->executor()) {}

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
    if (self->sink_ != nullptr || self->reader_.waiting()) {
      throw Error(skep::errc::invalid_argument, self->who() + " is received from twice at a time");
    }
    self->sink_ = &sink;
    self->outcome_ = Outcome::none;
    const ClearSink clear{*self};
    self->drain_inbox();
    const SteadyTime deadline = deadline_after(self->host_->now(), self->limits_.timeout);
    while (self->outcome_ == Outcome::none) {
      self->host_->deadlines().insert(self->read_limit_, deadline);
      co_await self->reader_.wait([self = self.get()] { self->cancel_receive(); });
      self->host_->deadlines().cancel(self->read_limit_);
    }
    switch (self->outcome_) {
      case Outcome::message: co_return true;
      case Outcome::end: co_return false;
      case Outcome::cancelled: throw_cancelled();
      default: break;
    }
    if (!self->remote_text_.empty() || self->error_ == skep::errc::remote) {
      throw RemoteError(self->who(), self->remote_text_);
    }
    throw Error(self->error_, self->who() + ": " + self->error_.message());
  }

  /// Sends one record and returns when its storage has been let go.
  static awaitable<void> send(std::shared_ptr<StreamCall> self, codec::StreamRecordHead::Kind kind, Payload body) {
    if (self->sending_) throw Error(skep::errc::invalid_argument, self->who() + " is sent to twice at a time");
    if (self->output_ended_) throw Error(skep::errc::invalid_argument, self->who() + " takes no more messages");
    if (!self->attached()) {
      throw Error(self->error_ ? self->error_ : make_error_code(skep::errc::closed),
                  self->who() + (self->error_ ? ": " + self->error_.message() : std::string(" has ended")));
    }
    self->sending_ = true;
    self->send_error_ = {};
    const ClearSending clear{*self};
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
  enum class Outcome { none, message, end, cancelled, failed };

  struct ReadLimit final : Deadline {
    explicit ReadLimit(StreamCall& of) : call(of) {}
    void expired() noexcept override { call.fail(skep::errc::timed_out); }
    StreamCall& call;
  };
  struct ClearSink {
    ~ClearSink() { self.sink_ = nullptr; }
    StreamCall& self;
  };
  struct ClearSending {
    ~ClearSending() {
      self.sending_ = false;
      self.record_ = {};
    }
    StreamCall& self;
  };

  [[nodiscard]] std::string who() const {
    return (side_ == Side::caller ? "the stream of " + method_ + " to " : "the stream of " + method_ + " from ") +
           peer_.to_string();
  }

  // ---- the other side's records

  void on_data(BytesView piece) override {
    const auto keep = shared_from_this();
    if (greeting_size_left() > 0) {
      const auto n = greeting_reader_.receive(greeting_, piece);
      if (!n) return fail(n.error());
      piece = piece.subspan(*n);
      consumed(*n);
    }
    if (inbox_read_ < inbox_.size()) {
      append(inbox_, piece);
      drain_inbox();
      return;
    }
    const std::size_t used = parse(piece);
    consumed(used);
    if (used < piece.size()) {
      if (side_ == Side::callee && input_ended_) return fail(skep::errc::malformed);  // the caller promised silence
      inbox_.assign(piece.begin() + static_cast<std::ptrdiff_t>(used), piece.end());
      inbox_read_ = 0;
    }
  }

  void drain_inbox() {
    if (inbox_read_ < inbox_.size()) {
      const std::size_t used = parse(BytesView(inbox_).subspan(inbox_read_));
      inbox_read_ += used;
      consumed(used);
      if (inbox_read_ == inbox_.size()) {
        inbox_.clear();
        inbox_read_ = 0;
      } else if (side_ == Side::callee && input_ended_) {
        return fail(skep::errc::malformed);
      }
    }
    settle();
  }

  // Takes bytes for as long as somebody wants them. @return how many were used
  std::size_t parse(BytesView input) {
    std::size_t used = 0;
    while (used < input.size() && wanted()) {
      const BytesView rest = input.subspan(used);
      if (!in_body_) {
        const std::size_t n = std::min(rest.size(), head_.size() - head_filled_);
        std::copy_n(rest.begin(), n, head_.begin() + static_cast<std::ptrdiff_t>(head_filled_));
        head_filled_ += n;
        used += n;
        if (const auto begun = begin_record(); !begun) {
          fail(begun.error());
          return input.size();
        }
        continue;
      }
      const auto n = take_body(rest.first(std::min(rest.size(), body_left_)));
      if (!n) {
        fail(n.error());
        return input.size();
      }
      used += *n;
      if (body_left_ == 0) end_record();
    }
    return used;
  }

  [[nodiscard]] bool wanted() const noexcept {
    if (input_ended_ || error_) return false;
    return discarding_ || (sink_ != nullptr && outcome_ == Outcome::none);
  }

  Result<void> begin_record() {
    const auto record = codec::StreamRecordHead::decode(BytesView(head_).first(head_filled_));
    if (!record) return record.error() == skep::errc::truncated ? Result<void>() : Result<void>(record.error());
    head_filled_ = 0;
    in_body_ = true;
    is_error_ = record->kind == codec::StreamRecordHead::Kind::error;
    if (record->body_size > (is_error_ ? max_error_record : limits_.max_message)) return skep::errc::limit_exceeded;
    body_left_ = static_cast<std::size_t>(record->body_size);
    if (is_error_) {
      error_body_.clear();
    } else if (!discarding_) {
      if (const auto refused = sink_->start(body_left_)) return refused;
    }
    if (body_left_ == 0) {
      end_record();
    } else {
      expect(body_left_);
    }
    return {};
  }

  Result<std::size_t> take_body(BytesView piece) {
    std::size_t n = piece.size();
    if (is_error_) {
      append(error_body_, piece);
    } else if (!discarding_) {
      const MutableBytes place = sink_->destination();
      n = std::min(n, place.size());
      if (n == 0) return skep::errc::limit_exceeded;
      std::memcpy(place.data(), piece.data(), n);
      if (const auto refused = sink_->filled(n)) return refused;
    }
    body_left_ -= n;
    return n;
  }

  void end_record() {
    in_body_ = false;
    if (!is_error_) {
      if (!discarding_) settle(Outcome::message);
      return;
    }
    input_ended_ = true;
    if (side_ == Side::callee) {  // any error record from the caller ends its input
      if (discarding_) close_service();
      return settle();
    }
    const auto text = codec::RPCError::decode(error_body_);
    error_ = make_error_code(skep::errc::remote);
    if (text) remote_text_ = printable(text->message, 64 * 1024);
    settle();
  }

  // Tells the receiver how its wait ends, once that is known.
  void settle(Outcome known = Outcome::none) {
    if (sink_ == nullptr || outcome_ != Outcome::none) return;
    if (known == Outcome::none) {
      if (error_) {
        known = Outcome::failed;
      } else if (input_ended_) {
        known = Outcome::end;
      } else if (side_ == Side::caller && eof_ && inbox_read_ == inbox_.size()) {
        if (in_body_ || head_filled_ > 0 || greeting_size_left() > 0) {
          error_ = make_error_code(skep::errc::truncated);
          known = Outcome::failed;
        } else {
          input_ended_ = true;
          known = Outcome::end;
        }
      } else {
        return;
      }
    }
    outcome_ = known;
    wake(reader_);
  }

  void cancel_receive() {
    if (outcome_ != Outcome::none) return;
    const auto keep = shared_from_this();
    if (in_body_ || head_filled_ > 0) fail(asio::error::make_error_code(asio::error::operation_aborted));
    outcome_ = Outcome::cancelled;
    wake(reader_);
  }

  [[nodiscard]] std::size_t greeting_size_left() const noexcept { return greeting_reader_.done(greeting_) ? 0 : 1; }

  // ---- the end of things

  void on_end() override {
    const auto keep = shared_from_this();
    eof_ = true;
    if (side_ == Side::callee) {
      if (!finished_) fail(skep::errc::cancelled);  // the caller wants no more answers
      return;
    }
    if (sending_) stop_sending(skep::errc::closed);  // the peer reads no more
    settle();
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
    settle();
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

  void wake(Waiter& waiter) { host_->turn().later(std::shared_ptr<Runnable>(shared_from_this(), &waiter)); }

  // Callee: the handler is done; what the caller still sends is read to its end before the stream is closed.
  void end_service() {
    discarding_ = true;
    output_ended_ = true;
    if (input_ended_) return close_service();
    host_->deadlines().insert(read_limit_, deadline_after(host_->now(), limits_.timeout));
    drain_inbox();
  }
  void close_service() {
    finished_ = true;
    finish();
    host_->deadlines().insert(read_limit_, deadline_after(host_->now(), limits_.timeout));  // for the caller to close
  }

  static constexpr std::size_t max_error_record = 1024 * 1024;

  Side side_;
  std::shared_ptr<ConnectionHost> host_;
  PeerId peer_;
  std::string method_;
  StreamLimits limits_;
  Waiter reader_;
  Waiter writer_;
  ReadLimit read_limit_{*this};
  ReadLimit write_limit_{*this};

  Bytes greeting_;
  GreetingReader greeting_reader_;
  Bytes inbox_;
  std::size_t inbox_read_ = 0;
  std::array<std::uint8_t, codec::StreamRecordHead::size> head_{};
  std::size_t head_filled_ = 0;
  std::size_t body_left_ = 0;
  Bytes error_body_;
  std::string remote_text_;
  AnyBodySink* sink_ = nullptr;
  Outcome outcome_ = Outcome::none;
  std::error_code error_;
  bool in_body_ = false;
  bool is_error_ = false;
  bool discarding_ = false;
  bool input_ended_ = false;
  bool eof_ = false;

  Payload record_;
  std::array<std::uint8_t, codec::StreamRecordHead::size> record_head_{};
  std::error_code send_error_;
  bool sending_ = false;
  bool output_ended_ = false;
  bool finished_ = false;
  std::function<void()> on_failure_;  // callee: stops the handler
};

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

/// The callee's side of one streaming call: runs the handler, says in an error record what it threw, reads the caller's
/// input to its end, closes. The caller's closing cancels the handler.
class StreamService final : public Runnable, public std::enable_shared_from_this<StreamService> {
 public:
  StreamService(std::shared_ptr<StreamCall> call, std::shared_ptr<const StreamHandler<Stream>> handler,
                std::shared_ptr<TaskCount> tasks)
      : call_(std::move(call)), handler_(std::move(handler)), tasks_(std::move(tasks)) {}

  void run() override {
    if (!call_->attached()) return;
    tasks_->begin();
    call_->on_failure_ = [weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->cancel_.emit(asio::cancellation_type::terminal);
    };
    asio::co_spawn(call_->host_->executor(), serve(shared_from_this()),
                   asio::bind_cancellation_slot(cancel_.slot(), [self = shared_from_this()](std::exception_ptr) {
                     self->call_->on_failure_ = nullptr;
                     self->tasks_->end();
                   }));
  }

 private:
  static awaitable<void> serve(std::shared_ptr<StreamService> self) {
    std::string words;
    bool failed = false;
    try {
      co_await (*self->handler_)(Stream(self->call_, false));
    } catch (const std::exception& error) {
      words = error.what();
      failed = true;
    } catch (...) {
      words = "an exception of unknown type";
      failed = true;
    }
    auto& call = *self->call_;
    if (failed && call.attached()) {
      if (words.empty()) words = "the handler failed";
      co_await clear_cancellation();
      try {
        co_await StreamCall::send(self->call_, codec::StreamRecordHead::Kind::error,
                                  codec::RPCError{words.substr(0, 64 * 1024)}.encode());
        // NOLINTNEXTLINE(bugprone-empty-catch)
      } catch (const std::exception&) {
        // the caller is gone: nobody is left to be told
      }
    }
    if (call.attached()) call.end_service();
  }

  std::shared_ptr<StreamCall> call_;
  std::shared_ptr<const StreamHandler<Stream>> handler_;
  std::shared_ptr<TaskCount> tasks_;
  asio::cancellation_signal cancel_;
};

}  // namespace skep::inline v0::p2p
