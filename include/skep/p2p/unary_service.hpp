// UnaryService: the callee's end of one unary call. The request lands in its sink, the handler runs, the answer leaves
// in one write together with the end of the stream.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <exception>
#include <memory>
#include <string>
#include <system_error>
#include <utility>

#include "skep/async/awaitable.hpp"
#include "skep/async/cancellation.hpp"
#include "skep/async/deadline_wheel.hpp"
#include "skep/async/scope.hpp"
#include "skep/codec/rpc_messages.hpp"
#include "skep/codec/unary_reader.hpp"
#include "skep/core/bytes.hpp"
#include "skep/core/error.hpp"
#include "skep/core/time.hpp"
#include "skep/p2p/inbound.hpp"
#include "skep/p2p/network.hpp"
#include "skep/p2p/payload.hpp"
#include "skep/p2p/quota.hpp"
#include "skep/p2p/standing.hpp"
#include "skep/p2p/stream_machine.hpp"
#include "skep/p2p/turn.hpp"

namespace skep::inline v0::p2p {

/// A unary handler and what belongs to it; shared by the calls that it serves, also after it was removed.
struct UnaryRegistration {
  std::string method;
  Handler handler;
  SinkFactory sinks;  ///< empty: the body is given as bytes
};

/// One call (wire protocol 6.1). The caller's closing or resetting before the answer cancels the handler; a handler
/// that throws answers with its words; a request that cannot be taken is read to its end and answered with the reason.
class UnaryService final : public StreamMachine,
                           public Runnable,
                           public skep::detail::Child,
                           public std::enable_shared_from_this<UnaryService>,
                           private Deadline {
 public:
  UnaryService(std::shared_ptr<ConnectionHost> host, std::shared_ptr<const UnaryRegistration> registration,
               const Connection& connection, std::shared_ptr<TaskCount> tasks, Duration limit)
      : host_(std::move(host)),
        registration_(std::move(registration)),
        tasks_(std::move(tasks)),
        peer_(connection.peer()),
        standing_(connection.standing()),
        quota_(connection.quota()),
        limit_(limit) {
    host_->deadlines().insert(*this, deadline_after(host_->now(), limit_));
  }

 private:
  enum class State { receiving, running, answered, over };

  void on_data(BytesView piece) override {
    const auto keep = shared_from_this();
    unreported_ += piece.size();
    if (state_ != State::receiving) return give_up();  // the caller promised silence: it has lost interest
    if (const auto read = receive(piece); !read) {
      standing_->fault(host_->now());
      return give_up();
    }
    if (reader_.done()) return received();
    if (reader_.at_body() ? reader_.body_left() > window() : unreported_ > yamux::initial_window / 2) {
      consumed(std::exchange(unreported_, 0));
    }
  }

  Result<void> receive(BytesView piece) {
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
      const auto taken = take_body(piece);
      if (!taken) return taken.error();
      piece = piece.subspan(*taken);
    }
    if (!piece.empty()) return skep::errc::malformed;
    return {};
  }

  Result<void> begin_body() {
    if (reader_.kind() != codec::UnaryKind::request) return skep::errc::malformed;
    const std::size_t size = reader_.body_left();
    held_ = quota_.take(size);
    if (!held_) {
      refusal_ = "busy: too many bytes of requests from this peer are in flight";
    } else {
      try {
        if (registration_->sinks) {
          sink_ = registration_->sinks(peer_);
          if (const auto refused = sink_->start(size)) refuse(refused);
        } else {
          body_.resize(size);
        }
      } catch (const std::exception& error) {
        refusal_ = error.what();
      }
    }
    if (size == 0) return reader_.body_taken(0);
    expect(size);
    return {};
  }

  Result<std::size_t> take_body(BytesView piece) {
    std::size_t n = std::min(piece.size(), reader_.body_left());
    if (refusal_.empty()) {
      const MutableBytes place =
          sink_ ? sink_->destination() : MutableBytes(body_).subspan(body_.size() - reader_.body_left());
      n = std::min(n, place.size());
      if (n == 0) return skep::errc::limit_exceeded;
      std::memcpy(place.data(), piece.data(), n);
      if (sink_) {
        if (const auto refused = sink_->filled(n)) refuse(refused);
      }
    }
    if (const auto taken = reader_.body_taken(n); !taken) return taken.error();
    return n;
  }

  void refuse(std::error_code why) {
    if (is_callers_fault(why)) standing_->fault(host_->now());
    refusal_ = why.message();
  }

  void received() {
    host_->deadlines().cancel(*this);
    if (!refusal_.empty()) return answer_error(refusal_);
    state_ = State::running;
    host_->turn().later(shared_from_this());
  }

  // The handler starts, in the turn in which its request arrived.
  void run() override {
    if (state_ != State::running) return;
    tasks_->begin();
    start(shared_from_this(), host_->executor(), serve(shared_from_this()));
  }

  static awaitable<void> serve(std::shared_ptr<UnaryService> self) {
    std::string words;
    try {
      Request request{self->peer_, self->registration_->method, std::move(self->body_), self->sink_};
      Payload answer = co_await self->registration_->handler(std::move(request));
      self->standing_->served();
      self->answer(std::move(answer));
      co_return;
    } catch (const std::exception& error) {
      if (is_callers_fault(error)) self->standing_->fault(self->host_->now());
      words = error.what();
    } catch (...) {
      words = "an exception of unknown type";
    }
    self->answer_error(words);
  }

  void answer(Payload payload) {
    if (state_ != State::running) return;
    auto head = codec::encode_unary_response_head(reader_.call_id(), payload.size());
    if (!head) {
      return answer_error("the answer of " + std::to_string(payload.size()) +
                          " bytes is longer than a unary answer may be (4 MiB); use a streaming call");
    }
    answer_ = std::move(payload);
    head_ = std::move(*head);
    send();
  }
  void answer_error(const std::string& words) {
    if (state_ != State::running && state_ != State::receiving) return;
    head_ = codec::encode_unary_error(reader_.call_id(), words);
    send();
  }
  void send() {
    state_ = State::answered;
    write(head_);
    write(answer_.head());
    for (const auto& segment : answer_.segments()) write(segment.bytes);
    finish();
    host_->deadlines().insert(*this, deadline_after(host_->now(), limit_));  // for the caller to take it and to close
  }

  void on_end() override {
    if (state_ != State::answered) give_up();
  }
  void on_lost(std::error_code) override { give_up(); }
  void on_drained() override {
    if (state_ != State::answered) return;
    answer_ = {};
    head_ = {};
    held_ = {};
    sink_ = {};  // whoever counts requests by it counts this one until here
  }
  void expired() noexcept override { give_up(); }
  void ended(std::exception_ptr /*thrown*/) override { tasks_->end(); }

  // The caller is gone, or not worth waiting for.
  void give_up() {
    const auto keep = shared_from_this();
    const bool running = state_ == State::running;
    state_ = State::over;
    host_->deadlines().cancel(*this);
    reset();
    answer_ = {};
    held_ = {};
    sink_ = {};
    if (running) cancel();
  }

  std::shared_ptr<ConnectionHost> host_;
  std::shared_ptr<const UnaryRegistration> registration_;
  std::shared_ptr<TaskCount> tasks_;
  PeerId peer_;
  std::shared_ptr<Standing> standing_;
  Quota quota_;
  Duration limit_;
  State state_ = State::receiving;
  codec::UnaryReader reader_;
  std::size_t unreported_ = 0;
  Quota::Share held_;
  Bytes body_;
  std::shared_ptr<AnyBodySink> sink_;
  std::string refusal_;
  Bytes head_;  // of the answer
  Payload answer_;
};

}  // namespace skep::inline v0::p2p
