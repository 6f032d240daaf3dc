// Outbox: what a yamux session has to send, in the order in which it leaves.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "skep/core/bytes.hpp"
#include "skep/core/endian.hpp"
#include "skep/p2p/yamux_frame.hpp"
#include "skep/p2p/yamux_stream.hpp"

namespace skep::inline v0::p2p::yamux {

/// Frames of the session itself, and streams in line: those of which something has to leave, those that may wait for
/// company, and those that were opened beyond what the peer accepts unacknowledged. Pure.
template <class Owner>
class Outbox {
 public:
  using Stream = yamux::Stream<Owner>;
  using Batch = yamux::Batch<Owner>;

  explicit Outbox(const Limits& limits) noexcept
      : max_control_(limits.max_control), max_unacknowledged_(limits.max_unacknowledged) {}

  /// A frame that belongs to no stream, or to one that is gone; leaves before all others.
  void push(FrameHeader header) { control_.push_back(header); }
  /// So many of them wait that the peer must be flooding us.
  [[nodiscard]] bool is_full() const noexcept { return control_.size() >= max_control_; }

  /// Something has to leave now; lazy frames wait until it has.
  [[nodiscard]] bool urgent() const noexcept { return !control_.empty() || ready_.first() != nullptr; }
  /// Something has to leave some time.
  [[nodiscard]] bool pending() const noexcept { return urgent() || lazy_.first() != nullptr; }

  /// Something of the stream has changed: puts it into the line where it belongs now.
  void schedule(Stream& stream) {
    if (stream.doomed_ || stream.list_ == Stream::List::ready || stream.list_ == Stream::List::waiting) return;
    const bool fin_due = stream.fin_queued_ && !stream.fin_sent_ && stream.drained();
    const bool data_due = can_send_data(stream);
    const bool now = (data_due && !(stream.data_lazy_ && !stream.fin_queued_)) || stream.grant_ > 0 ||
                     (fin_due && !stream.fin_lazy_) || (stream.syn_pending_ && !stream.drained() && !stream.data_lazy_);
    if (now) {
      unlink(stream);
      ready_.append(stream);
    } else if (stream.list_ == Stream::List::none && (data_due || fin_due || stream.ack_pending_)) {
      lazy_.append(stream);
    }
  }

  /// The peer has accepted a stream of ours.
  void acknowledged(Stream& stream) {
    if (stream.acknowledged_ || stream.syn_pending_) return;
    stream.acknowledged_ = true;
    --unacknowledged_;
    let_in();
  }

  /// Nothing more of the stream leaves. It must be marked as doomed.
  void forget(Stream& stream) {
    const bool was_to_leave = stream.list_ == Stream::List::ready;
    unlink(stream);
    stream.outgoing_.clear();
    stream.next_ = 0;
    if (stream.inbound_ || stream.acknowledged_) return;
    if (!stream.syn_pending_) {
      --unacknowledged_;
    } else if (!was_to_leave) {
      return;
    }
    let_in();  // in its place, also if it was let in and never announced
  }

  /// As `Session::take`. `ended(stream)` is told of streams that are over for both sides.
  template <class Ended>
  void take(Batch& batch, std::size_t budget, Ended ended) {
    batch.pieces.clear();
    batch.drained.clear();
    batch.headers.clear();
    batch.headers.reserve(max_frames);  // pieces point at them: they must not move
    batch.size = 0;
    std::size_t controls = 0;
    for (; controls < control_.size() && batch.headers.size() < max_frames; ++controls) {
      push_header(batch, control_[controls]);
    }
    control_.erase(control_.begin(), control_.begin() + static_cast<std::ptrdiff_t>(controls));
    const auto serve = [&](List& line) {
      Stream& stream = *line.first();
      unlink(stream);
      emit(batch, stream);
      if (stream.fin_sent_ && stream.remote_closed_) ended(stream);
    };
    while (ready_.first() != nullptr && batch.size < budget && has_room(batch)) serve(ready_);
    while (lazy_.first() != nullptr && ready_.first() == nullptr && has_room(batch)) serve(lazy_);
  }

 private:
  using List = StreamList<Owner>;
  static constexpr std::size_t max_frames = 256;  // in a batch

  [[nodiscard]] static bool has_room(const Batch& batch) noexcept { return batch.headers.size() + 3 <= max_frames; }
  [[nodiscard]] static bool can_send_data(const Stream& stream) noexcept {
    return !stream.drained() && stream.send_window_ > 0;
  }

  void let_in() {
    if (unacknowledged_ >= max_unacknowledged_) return;
    if (Stream* next = waiting_.first()) {
      unlink(*next);
      schedule(*next);
    }
  }

  // Writes one frame of the stream, one before it when there is credit to announce, and one behind it when our half is
  // closed: FIN never shares a frame with data, since yamux in Go looks at the flags before it has stored the data, and
  // a reader that wakes in between takes the stream for ended.
  void emit(Batch& batch, Stream& stream) {
    if (stream.syn_pending_) {
      if (unacknowledged_ >= max_unacknowledged_) {
        waiting_.append(stream);
        return;
      }
      ++unacknowledged_;
    }
    std::uint16_t flags = 0;
    if (std::exchange(stream.syn_pending_, false)) flags |= syn;
    if (std::exchange(stream.ack_pending_, false)) flags |= ack;
    if (const std::uint32_t credit = std::exchange(stream.grant_, 0U); credit > 0) {
      push_header(batch, {FrameType::window_update, std::exchange(flags, std::uint16_t{0}), stream.id_, credit});
    }
    const bool had_data = !stream.drained();
    stream.data_lazy_ = false;
    if (can_send_data(stream)) {
      push_header(batch, {FrameType::data, flags, stream.id_, 0});
      const std::uint32_t size = push_data(batch, stream);
      store_be<std::uint32_t>(batch.headers.back().data() + 8, size);
      flags = 0;
    }
    if (stream.fin_queued_ && !stream.fin_sent_ && stream.drained()) {
      stream.fin_sent_ = true;
      flags |= fin;
    }
    if (flags != 0) push_header(batch, {FrameType::window_update, flags, stream.id_, 0});
    if (had_data && stream.drained()) batch.drained.push_back(&stream);
    if (!stream.fin_sent_ || !stream.remote_closed_) schedule(stream);
  }

  void push_header(Batch& batch, const FrameHeader& header) {
    batch.headers.push_back(header.encode());
    batch.pieces.emplace_back(batch.headers.back());
    batch.size += header_size;
  }

  // Hands out payload of one frame; whole segments are let go. @return its size, at least 1
  std::uint32_t push_data(Batch& batch, Stream& stream) {
    auto room = static_cast<std::uint32_t>(std::min<std::uint64_t>(stream.send_window_, max_sent_payload));
    std::uint32_t size = 0;
    while (room > 0 && !stream.drained()) {
      BytesView& segment = stream.outgoing_[stream.next_];
      const auto part = static_cast<std::uint32_t>(std::min<std::size_t>(segment.size(), room));
      batch.pieces.push_back(segment.first(part));
      segment = segment.subspan(part);
      if (segment.empty()) ++stream.next_;
      room -= part;
      size += part;
    }
    if (stream.drained()) {
      stream.outgoing_.clear();
      stream.next_ = 0;
    }
    stream.send_window_ -= size;
    batch.size += size;
    return size;
  }

  void unlink(Stream& stream) noexcept {
    switch (stream.list_) {
      case Stream::List::none: return;
      case Stream::List::ready: return ready_.remove(stream);
      case Stream::List::lazy: return lazy_.remove(stream);
      case Stream::List::waiting: return waiting_.remove(stream);
    }
  }

  std::size_t max_control_;
  std::size_t max_unacknowledged_;
  std::size_t unacknowledged_ = 0;
  std::vector<FrameHeader> control_;
  List ready_{Stream::List::ready};
  List lazy_{Stream::List::lazy};  // an acknowledgement or a closing half that may wait for company
  List waiting_{Stream::List::waiting};
};

}  // namespace skep::inline v0::p2p::yamux
