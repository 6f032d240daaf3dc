// UnaryCall: the caller's end of one unary call. Greeting, request and body leave in one write; the answer lands in its
// sink. No timer and no coroutine of its own.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <system_error>
#include <utility>

#include "skep/async/cancellation.hpp"
#include "skep/async/deadline_wheel.hpp"
#include "skep/codec/unary_reader.hpp"
#include "skep/core/bytes.hpp"
#include "skep/core/error.hpp"
#include "skep/core/time.hpp"
#include "skep/p2p/connection.hpp"
#include "skep/p2p/payload.hpp"
#include "skep/p2p/protocol_greeting.hpp"
#include "skep/p2p/stream_machine.hpp"
#include "skep/p2p/turn.hpp"

namespace skep::inline v0::p2p {

/// One call (wire protocol 6.1). The write half stays open and silent until the answer is complete, then it is closed
/// with the next frame that leaves. Giving up resets the stream, which cancels the handler.
class UnaryCall final : public StreamMachine, public std::enable_shared_from_this<UnaryCall>, private Deadline {
 public:
  /// @param sink  where the answer goes; it must live until the call is done
  UnaryCall(std::shared_ptr<ConnectionHost> host, Payload request, AnyBodySink& sink)
      : host_(std::move(host)), request_(std::move(request)), sink_(sink), waiter_(host_->executor()) {}

  /// Sends the request. @param head  the greeting and everything of the message before the body
  /// @return skep::errc::closed, errc::going_away, errc::too_many_streams
  [[nodiscard]] Result<void> start(Connection& connection, std::size_t greeting_size, Bytes head, SteadyTime deadline) {
    head_ = std::move(head);
    greeting_size_ = greeting_size;
    if (auto opened = connection.open(shared_from_this()); !opened) return opened;
    host_->deadlines().insert(*this, deadline);
    write(head_);
    write(request_.head());
    for (const auto& segment : request_.segments()) write(segment.bytes);
    return {};
  }

  /// Sleeps until the call is over. Cancelling it gives the call up.
  [[nodiscard]] auto wait() {
    return waiter_.wait([this] { fail(asio::error::make_error_code(asio::error::operation_aborted)); });
  }
  [[nodiscard]] bool done() const noexcept { return done_; }
  /// Nobody waits any more; nothing happens when the call is over.
  void abandon() { fail(skep::errc::cancelled); }

  // when done()

  /// What went wrong on this side or on the way; empty: the peer answered.
  [[nodiscard]] std::error_code error() const noexcept { return error_; }
  /// Whether the peer's answer is an error in its own words.
  [[nodiscard]] bool failed_remotely() const noexcept { return reader_.kind() == codec::UnaryKind::error; }
  [[nodiscard]] const std::string& remote_text() const noexcept { return remote_text_; }

 private:
  static constexpr std::size_t max_error_text = 64 * 1024;

  void on_data(BytesView piece) override {
    unreported_ += piece.size();
    if (const auto read = receive(piece); !read) return fail(read.error());
    if (done_) return;
    if (reader_.done()) return succeed();
    if (reader_.at_body() ? reader_.body_left() > window() : unreported_ > yamux::initial_window / 2) {
      consumed(std::exchange(unreported_, 0));
    }
  }

  Result<void> receive(BytesView piece) {
    const BytesView greeting = BytesView(head_).first(greeting_size_);
    if (!greeting_.done(greeting)) {
      const auto n = greeting_.receive(greeting, piece);
      if (!n) return n.error();
      piece = piece.subspan(*n);
    }
    while (!piece.empty() && !reader_.done()) {
      if (!reader_.at_body()) {
        const auto n = reader_.feed(piece);
        if (!n) return n.error();
        piece = piece.subspan(*n);
        if (reader_.at_body()) {
          if (auto begun = begin_body(); !begun) return begun;
        }
        continue;
      }
      auto taken = take_body(piece);
      if (!taken) return taken.error();
      piece = piece.subspan(*taken);
    }
    return {};
  }

  Result<void> begin_body() {
    const std::size_t size = reader_.body_left();
    switch (reader_.kind()) {
      case codec::UnaryKind::request: return skep::errc::malformed;
      case codec::UnaryKind::response:
        if (const auto refused = sink_.start(size)) return refused;
        break;
      case codec::UnaryKind::error: break;
    }
    if (size == 0) return reader_.body_taken(0);
    expect(size);
    return {};
  }

  Result<std::size_t> take_body(BytesView piece) {
    std::size_t n = std::min(piece.size(), reader_.body_left());
    if (reader_.kind() == codec::UnaryKind::error) {
      const std::size_t room = max_error_text - std::min(max_error_text, remote_text_.size());
      remote_text_ += as_text(piece.first(std::min(n, room)));
    } else {
      const MutableBytes place = sink_.destination();
      n = std::min(n, place.size());
      if (n == 0) return skep::errc::limit_exceeded;
      std::memcpy(place.data(), piece.data(), n);
      if (const auto refused = sink_.filled(n)) return refused;
    }
    if (const auto taken = reader_.body_taken(n); !taken) return taken.error();
    return n;
  }

  void on_end() override {
    if (!done_) fail(skep::errc::closed);
  }
  void on_lost(std::error_code why) override {
    if (!done_) fail(why);
  }
  void on_drained() override { request_ = {}; }
  void expired() noexcept override { fail(skep::errc::timed_out); }

  void succeed() {
    if (drained()) {
      leave();
    } else {
      reset();  // the peer answered without reading the request to its end
    }
    complete();
  }
  void fail(std::error_code why) {
    if (done_) return;
    const auto keep = shared_from_this();
    error_ = why;
    reset();
    complete();
  }
  void complete() {
    done_ = true;
    request_ = {};
    host_->deadlines().cancel(*this);
    host_->turn().later(std::shared_ptr<Runnable>(shared_from_this(), &waiter_));
  }

  std::shared_ptr<ConnectionHost> host_;
  Bytes head_;
  std::size_t greeting_size_ = 0;
  Payload request_;
  AnyBodySink& sink_;
  GreetingReader greeting_;
  codec::UnaryReader reader_;
  std::size_t unreported_ = 0;
  std::string remote_text_;
  std::error_code error_;
  Waiter waiter_;
  bool done_ = false;
};

}  // namespace skep::inline v0::p2p
