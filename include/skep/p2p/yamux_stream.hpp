// What a yamux session consists of: its limits, a stream and its windows, lines of streams, events and batches.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "skep/core/bytes.hpp"
#include "skep/p2p/yamux_frame.hpp"

namespace skep::inline v0::p2p::yamux {

/// Who connected: fixes the parity of the stream ids.
enum class Role { dialer, listener };

struct Limits {
  std::size_t max_inbound = 1024;                ///< streams opened by the peer at one time; more are reset at once
  std::size_t max_outbound = 64 * 1024;          ///< streams opened by us at one time; open() fails above it
  std::size_t max_unacknowledged = 256;          ///< opened and not yet accepted; more wait here, as peers refuse them
  std::uint32_t max_window = 16 * 1024 * 1024;   ///< a stream's receive window never grows above it
  std::size_t window_budget = 64 * 1024 * 1024;  ///< what all streams together may have been granted above their start
  std::size_t max_control = 4096;                ///< answers to pings and resets that wait to be written
};

/// When something small has to leave: at once, or with the next frame that has to leave anyway.
enum class Urgency { now, lazy };

/// One stream of a session, as its driver sees it.
template <class Owner>
class Stream {
 public:
  Owner owner{};  ///< of the driver; let go when the stream is gone

  [[nodiscard]] std::uint32_t id() const noexcept { return id_; }
  /// The peer will send nothing more.
  [[nodiscard]] bool remote_closed() const noexcept { return remote_closed_; }
  /// We promised to send nothing more.
  [[nodiscard]] bool local_closed() const noexcept { return fin_queued_; }
  [[nodiscard]] bool inbound() const noexcept { return inbound_; }
  /// Nothing written is left to be handed out.
  [[nodiscard]] bool drained() const noexcept { return next_ == outgoing_.size(); }
  /// How many bytes the peer may still send.
  [[nodiscard]] std::uint32_t receive_window() const noexcept { return receive_window_; }

  /// The line that a stream stands in.
  enum class List : std::uint8_t { none, ready, lazy, waiting };

 private:
  template <class>
  friend class Session;
  template <class>
  friend class Outbox;
  template <class>
  friend class StreamList;

  std::uint32_t id_ = 0;
  std::uint64_t send_window_ = initial_window;
  std::uint32_t receive_window_ = initial_window;
  std::uint32_t target_window_ = initial_window;
  std::uint32_t unread_ = 0;  // received, not yet consumed
  std::uint32_t grant_ = 0;   // credit to be announced
  std::vector<BytesView> outgoing_;
  std::size_t next_ = 0;  // first of outgoing_ that is not handed out whole
  Stream* before_ = nullptr;
  Stream* after_ = nullptr;
  List list_ = List::none;
  bool inbound_ = false;
  bool syn_pending_ = false;
  bool ack_pending_ = false;
  bool acknowledged_ = false;
  bool fin_queued_ = false;
  bool fin_lazy_ = false;
  bool data_lazy_ = false;
  bool fin_sent_ = false;
  bool remote_closed_ = false;
  bool doomed_ = false;
};

/// Streams in a line, each in at most one.
template <class Owner>
class StreamList {
 public:
  explicit StreamList(typename Stream<Owner>::List name) noexcept : name_(name) {}

  [[nodiscard]] Stream<Owner>* first() const noexcept { return first_; }
  void append(Stream<Owner>& stream) noexcept {
    stream.list_ = name_;
    stream.before_ = last_;
    stream.after_ = nullptr;
    (last_ ? last_->after_ : first_) = &stream;
    last_ = &stream;
  }
  void remove(Stream<Owner>& stream) noexcept {
    (stream.before_ ? stream.before_->after_ : first_) = stream.after_;
    (stream.after_ ? stream.after_->before_ : last_) = stream.before_;
    stream.list_ = Stream<Owner>::List::none;
    stream.before_ = stream.after_ = nullptr;
  }

 private:
  typename Stream<Owner>::List name_;
  Stream<Owner>* first_ = nullptr;
  Stream<Owner>* last_ = nullptr;
};

/// What `Session::read` found.
template <class Owner>
struct Event {
  enum class Kind {
    none,       ///< the input is used up
    opened,     ///< the peer opened `stream`; set its owner
    data,       ///< `data` of `stream`; say consumed() when it is out of the way
    ended,      ///< the peer closed its half of `stream`
    reset,      ///< the peer gave `stream` up in both directions; it is gone after this event
    pong,       ///< the answer to ping number `value`
    went_away,  ///< the peer ends the session for reason `value`; 0: only no new streams
  };
  Kind kind = Kind::none;
  Stream<Owner>* stream = nullptr;
  BytesView data;
  std::uint32_t value = 0;
};

/// What `Session::take` hands out: the pieces to be sent in order, and the streams whose last written byte is among
/// them. Reused from one call to the next.
template <class Owner>
struct Batch {
  std::vector<BytesView> pieces;
  std::vector<Stream<Owner>*> drained;
  std::size_t size = 0;

 private:
  template <class>
  friend class Outbox;
  std::vector<std::array<std::uint8_t, header_size>> headers;
};

}  // namespace skep::inline v0::p2p::yamux
