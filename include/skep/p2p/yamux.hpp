// The yamux session as a pure machine: bytes in, events out; writes in, frames out. It knows no socket and no clock.
#pragma once

#include <algorithm>
#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <unordered_map>
#include <utility>
#include <vector>

#include "skep/core/bytes.hpp"
#include "skep/core/error.hpp"
#include "skep/core/result.hpp"
#include "skep/p2p/error.hpp"
#include "skep/p2p/yamux_frame.hpp"
#include "skep/p2p/yamux_outbox.hpp"
#include "skep/p2p/yamux_stream.hpp"

namespace skep::inline v0::p2p::yamux {

/// One connection's streams (yamux specification; wire forms of all libp2p implementations are accepted).
///
/// Reading is pulled: `read()` takes bytes off the front of its input and returns one event at a time, payload as views
/// into the input. Writing is lent: `write()` keeps views of the caller's bytes until `take()` has handed them out in
/// frames, fair between streams, small frames of the session first. Every function but the constructor, `open()`,
/// `write()` and `take()` allocates nothing in the steady state.
///
/// @tparam Owner  what the driver wants to find at a stream, e.g. a shared_ptr; default-constructible means "nobody"
template <class Owner>
class Session {
 public:
  using Stream = yamux::Stream<Owner>;
  using Event = yamux::Event<Owner>;
  using Batch = yamux::Batch<Owner>;

  explicit Session(Role role, Limits limits = {}) noexcept
      : role_(role),
        limits_(limits),
        next_id_(role == Role::dialer ? 1 : 2),
        outbox_(limits_),
        grantable_(limits.window_budget) {}

  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  /// Takes bytes off the front of `input` and returns the next event. A stream in an event stays valid until the
  /// driver resets it or calls read(), take() or sweep() again.
  /// @return errc::protocol_error for what the protocol forbids, errc::window_exceeded for a window that was ignored,
  ///         skep::errc::limit_exceeded for a flood of pings or openings: the connection must be closed
  [[nodiscard]] Result<Event> read(BytesView& input) {
    sweep();
    for (;;) {
      if (payload_left_ > 0) {
        if (input.empty()) return Event{};
        const auto size = static_cast<std::uint32_t>(std::min<std::size_t>(payload_left_, input.size()));
        const BytesView piece = input.first(size);
        input = input.subspan(size);
        payload_left_ -= size;
        if (current_ == nullptr) continue;  // of a stream that is gone: drained
        current_->unread_ += size;
        return Event{.kind = Event::Kind::data, .stream = current_, .data = piece};
      }
      if (fin_after_payload_) {
        fin_after_payload_ = false;
        if (current_ != nullptr) return remote_close(*current_);
      }
      if (input.empty()) return Event{};
      const std::size_t missing = header_size - header_filled_;
      const std::size_t size = std::min(missing, input.size());
      std::copy_n(input.begin(), size, header_.begin() + static_cast<std::ptrdiff_t>(header_filled_));
      input = input.subspan(size);
      header_filled_ += size;
      if (header_filled_ < header_size) return Event{};
      header_filled_ = 0;
      const Result<FrameHeader> header = FrameHeader::decode(header_);
      if (!header) return header.error();
      Result<Event> event = on_header(*header);
      if (!event || event->kind != Event::Kind::none) return event;
    }
  }

  /// Opens a stream; its first frame announces it. It may be written to at once.
  /// @return errc::too_many_streams above `max_outbound`, errc::going_away when the peer takes no more or ids are used
  /// up
  [[nodiscard]] Result<Stream*> open(Owner owner) {
    if (remote_went_away_ || next_id_ > std::numeric_limits<std::uint32_t>::max() - 2) return errc::going_away;
    if (outbound_ >= limits_.max_outbound) return errc::too_many_streams;
    Stream& stream = insert(next_id_);
    next_id_ += 2;
    ++outbound_;
    stream.owner = std::move(owner);
    stream.syn_pending_ = true;
    return &stream;
  }

  /// Lends bytes to be sent after those written before. They must stay where they are until a batch says `drained`
  /// for the stream, or the stream is gone. With `Urgency::lazy` they wait for company.
  void write(Stream& stream, BytesView bytes, Urgency urgency = Urgency::now) {
    assert(!stream.fin_queued_);
    if (bytes.empty()) return;
    stream.data_lazy_ = urgency == Urgency::lazy && (stream.drained() || stream.data_lazy_);
    stream.outgoing_.push_back(bytes);
    outbox_.schedule(stream);
  }

  /// Closes our half after all that was written. With `Urgency::lazy` the frame waits for company.
  void finish(Stream& stream, Urgency urgency = Urgency::now) {
    if (stream.fin_queued_) return;
    stream.fin_queued_ = true;
    stream.fin_lazy_ = urgency == Urgency::lazy;
    outbox_.schedule(stream);
  }

  /// Gives a stream up in both directions and forgets it at once.
  void reset(Stream& stream) {
    if (stream.doomed_) return;
    if (!stream.syn_pending_) outbox_.push({.type = FrameType::window_update, .flags = rst, .stream = stream.id_});
    doom(stream);
  }

  /// The driver has put `size` received bytes out of the way: they may be granted again. Half a window is collected
  /// before the peer is told; a reader that keeps up sees its window doubled each time.
  void consumed(Stream& stream, std::size_t size) {
    assert(size <= stream.unread_);
    stream.unread_ -= static_cast<std::uint32_t>(size);
    if (stream.remote_closed_ || stream.doomed_) return;
    const std::uint32_t outstanding = stream.receive_window_ + stream.unread_;
    if (stream.target_window_ - std::min(stream.target_window_, outstanding) < stream.target_window_ / 2) return;
    if (stream.unread_ == 0) grow(stream, stream.target_window_);
    grant(stream, stream.target_window_ - outstanding);
  }

  /// The driver has a place for `size` more bytes: lets the peer send them without waiting, as far as limits allow.
  void expect(Stream& stream, std::size_t size) {
    if (stream.remote_closed_ || stream.doomed_) return;
    const auto wanted = static_cast<std::uint32_t>(std::min<std::size_t>(size, limits_.max_window));
    if (wanted <= stream.receive_window_) return;
    const std::uint32_t whole = wanted + stream.unread_;
    if (whole > stream.target_window_) grow(stream, whole - stream.target_window_);
    const std::uint32_t outstanding = stream.receive_window_ + stream.unread_;
    if (stream.target_window_ > outstanding) grant(stream, stream.target_window_ - outstanding);
  }

  /// Asks the peer for a sign of life; the event `pong` carries the same number.
  void ping(std::uint32_t number) {
    outbox_.push({.type = FrameType::ping, .flags = syn, .stream = 0, .length = number});
  }

  /// Something has to leave now; lazy frames wait until it has.
  [[nodiscard]] bool urgent() const noexcept { return outbox_.urgent(); }
  /// Something has to leave some time.
  [[nodiscard]] bool pending() const noexcept { return outbox_.pending(); }
  [[nodiscard]] bool idle() const noexcept { return inbound_ + outbound_ == 0; }
  [[nodiscard]] std::size_t inbound() const noexcept { return inbound_; }
  [[nodiscard]] std::size_t outbound() const noexcept { return outbound_; }
  [[nodiscard]] bool remote_went_away() const noexcept { return remote_went_away_; }

  /// Hands out frames of at most about `budget` bytes: those of the session, then of every stream in turn, then what
  /// was lazy. The pieces stay valid until the next call, those of a stream as long as its writer keeps them.
  void take(Batch& batch, std::size_t budget) {
    sweep();
    outbox_.take(batch, budget, [this](Stream& stream) { doom(stream); });
  }

  /// Lets go of streams that are over, and of their owners. read() and take() begin with it.
  void sweep() noexcept {
    while (!doomed_.empty()) {
      const std::uint32_t id = doomed_.back();
      doomed_.pop_back();
      auto node = streams_.extract(id);
      if (!node) continue;
      [[maybe_unused]] const Owner owner = std::move(node.mapped().owner);  // destroyed last: it may look at us
      std::vector<BytesView> outgoing = std::move(node.mapped().outgoing_);
      if (spare_.size() < max_spare) {
        outgoing.clear();
        node.mapped() = Stream{};
        node.mapped().outgoing_ = std::move(outgoing);
        spare_.push_back(std::move(node));
      }
    }
  }

  /// Calls `visit(Stream&)` for every stream; it must neither open nor end one.
  template <class Visit>
  void for_each(Visit visit) {
    for (auto& [id, stream] : streams_) {
      if (!stream.doomed_) visit(stream);
    }
  }

 private:
  static constexpr std::size_t max_spare = 64;  // streams kept for reuse

  Result<Event> on_header(const FrameHeader& header) {
    switch (header.type) {
      case FrameType::ping:
        if (header.has(syn)) {
          if (outbox_.is_full()) return skep::errc::limit_exceeded;
          outbox_.push({.type = FrameType::ping, .flags = ack, .stream = 0, .length = header.length});
          return Event{};
        }
        return Event{.kind = Event::Kind::pong, .value = header.length};
      case FrameType::go_away:
        remote_went_away_ = true;
        return Event{.kind = Event::Kind::went_away, .value = header.length};
      case FrameType::data:
      case FrameType::window_update: break;
    }
    const bool carries_data = header.type == FrameType::data;
    payload_left_ = carries_data ? header.length : 0;
    fin_after_payload_ = false;
    current_ = nullptr;
    bool opened = false;
    if (header.has(syn)) {
      const bool odd = header.stream % 2 == 1;
      if (header.stream == 0 || odd != (role_ == Role::listener) || streams_.contains(header.stream)) {
        return errc::protocol_error;
      }
      if (outbox_.is_full()) return skep::errc::limit_exceeded;  // a flood of streams to be reset
      if (inbound_ >= limits_.max_inbound) {
        outbox_.push({.type = FrameType::window_update, .flags = rst, .stream = header.stream});
        return Event{};
      }
      Stream& stream = insert(header.stream);
      stream.inbound_ = true;
      stream.acknowledged_ = true;
      stream.ack_pending_ = true;
      ++inbound_;
      current_ = &stream;
      opened = true;
      outbox_.schedule(stream);
    } else if (const auto found = streams_.find(header.stream); found != streams_.end() && !found->second.doomed_) {
      current_ = &found->second;
    }
    if (current_ == nullptr) return Event{};  // a stream that is gone: its payload is drained, the rest ignored
    Stream& stream = *current_;
    if (header.has(ack)) outbox_.acknowledged(stream);
    if (carries_data && header.length > 0) {
      if (stream.remote_closed_ || header.has(rst)) {
        current_ = nullptr;  // drained
      } else {
        if (header.length > stream.receive_window_) return errc::window_exceeded;
        stream.receive_window_ -= header.length;
      }
    } else if (!carries_data && header.length > 0) {
      stream.send_window_ += header.length;
      outbox_.schedule(stream);
    }
    if (header.has(rst)) {
      doom(stream);
      if (opened) return Event{};  // opened and given up in one frame: nothing happened
      return Event{.kind = Event::Kind::reset, .stream = &stream};
    }
    fin_after_payload_ = header.has(fin);
    if (opened) return Event{.kind = Event::Kind::opened, .stream = &stream};
    return Event{};
  }

  Event remote_close(Stream& stream) {
    if (stream.remote_closed_) return Event{};
    stream.remote_closed_ = true;
    if (stream.fin_sent_) doom(stream);
    return Event{.kind = Event::Kind::ended, .stream = &stream};
  }

  Stream& insert(std::uint32_t id) {
    if (spare_.empty()) {
      Stream& stream = streams_[id];
      stream.id_ = id;
      return stream;
    }
    auto node = std::move(spare_.back());
    spare_.pop_back();
    node.key() = id;
    node.mapped().id_ = id;
    return streams_.insert(std::move(node)).position->second;
  }

  // The stream takes part in nothing any more; it and its owner go at the next sweep.
  void doom(Stream& stream) {
    if (stream.doomed_) return;
    stream.doomed_ = true;
    outbox_.forget(stream);
    grantable_ += stream.target_window_ - initial_window;
    --(stream.inbound_ ? inbound_ : outbound_);
    if (current_ == &stream) current_ = nullptr;
    doomed_.push_back(stream.id_);
  }

  void grow(Stream& stream, std::uint32_t by) {
    const std::size_t room =
        std::min<std::size_t>(grantable_, limits_.max_window - std::min(limits_.max_window, stream.target_window_));
    const auto growth = static_cast<std::uint32_t>(std::min<std::size_t>(room, by));
    stream.target_window_ += growth;
    grantable_ -= growth;
  }

  void grant(Stream& stream, std::uint32_t credit) {
    stream.receive_window_ += credit;
    stream.grant_ += credit;
    outbox_.schedule(stream);
  }

  using Streams = std::unordered_map<std::uint32_t, Stream>;

  Role role_;
  Limits limits_;
  std::uint32_t next_id_;
  Streams streams_;
  std::vector<typename Streams::node_type> spare_;
  std::vector<std::uint32_t> doomed_;
  Outbox<Owner> outbox_;
  std::size_t inbound_ = 0;
  std::size_t outbound_ = 0;
  std::size_t grantable_;
  bool remote_went_away_ = false;

  // the frame that is being read
  std::array<std::uint8_t, header_size> header_{};
  std::size_t header_filled_ = 0;
  std::uint32_t payload_left_ = 0;
  bool fin_after_payload_ = false;
  Stream* current_ = nullptr;
};

}  // namespace skep::inline v0::p2p::yamux
