// StreamInput: what arrives on a streaming call, as records. Pure: bytes in, messages into sinks, in pieces of any
// size.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "skep/codec/rpc_messages.hpp"
#include "skep/core/bytes.hpp"
#include "skep/core/error.hpp"
#include "skep/core/result.hpp"
#include "skep/p2p/payload.hpp"

namespace skep::inline v0::p2p {

/// The records of one direction (wire protocol 6.2): messages, each into the sink that is wanted for it, until a record
/// of the other kind, which from a caller means the end of its input and from a callee a failure. What arrives while
/// nothing is wanted waits here; the flow control of yamux bounds it.
class StreamInput {
 public:
  /// @param max_message  a longer one is refused before its sink hears of it
  explicit StreamInput(std::size_t max_message) noexcept : max_message_(max_message) {}

  /// The next message goes to `sink`, which must live until `got()` or `unwant()`. `resume` then takes what waits.
  void want(AnyBodySink& sink) noexcept {
    sink_ = &sink;
    got_ = false;
  }
  void unwant() noexcept { sink_ = nullptr; }
  /// From now on messages are read and thrown away.
  void discard() noexcept {
    discarding_ = true;
    sink_ = nullptr;
  }

  /// Takes what has arrived. @return how many bytes are out of the way now; errc::malformed for an unknown marker,
  /// errc::limit_exceeded for a message that is too long, or what the sink said: the stream is to be reset
  [[nodiscard]] Result<std::size_t> receive(BytesView piece) {
    if (waiting() > 0) {
      append(inbox_, piece);
      return resume();
    }
    const auto used = parse(piece);
    if (used && *used < piece.size()) inbox_.assign(piece.begin() + static_cast<std::ptrdiff_t>(*used), piece.end());
    return used;
  }
  /// The same for what waits.
  [[nodiscard]] Result<std::size_t> resume() {
    const auto used = parse(BytesView(inbox_).subspan(read_));
    if (!used) return used;
    read_ += *used;
    if (waiting() == 0) {
      inbox_.clear();
      read_ = 0;
    }
    return used;
  }

  /// The wanted message is complete.
  [[nodiscard]] bool got() const noexcept { return got_; }
  /// The record that ends the input has come; `last_words` is its body.
  [[nodiscard]] bool ended() const noexcept { return ended_; }
  [[nodiscard]] const Bytes& last_words() const noexcept { return last_words_; }
  /// Bytes that nobody has wanted yet.
  [[nodiscard]] std::size_t waiting() const noexcept { return inbox_.size() - read_; }
  /// A record has begun and is not complete.
  [[nodiscard]] bool inside_record() const noexcept { return in_body_ || head_filled_ > 0; }
  /// How much of the current record's body is still to come.
  [[nodiscard]] std::size_t body_left() const noexcept { return in_body_ ? body_left_ : 0; }

 private:
  using Head = codec::StreamRecordHead;
  static constexpr std::size_t max_last_words = 1024 * 1024;

  [[nodiscard]] bool wanted() const noexcept { return !ended_ && (discarding_ || (sink_ != nullptr && !got_)); }

  Result<std::size_t> parse(BytesView input) {
    std::size_t used = 0;
    while (used < input.size() && wanted()) {
      const BytesView rest = input.subspan(used);
      const auto n = in_body_ ? take_body(rest.first(std::min(rest.size(), body_left_))) : take_head(rest);
      if (!n) return n;
      used += *n;
    }
    return used;
  }

  Result<std::size_t> take_head(BytesView input) {
    const std::size_t n = std::min(input.size(), head_.size() - head_filled_);
    std::copy_n(input.begin(), n, head_.begin() + static_cast<std::ptrdiff_t>(head_filled_));
    head_filled_ += n;
    const auto head = Head::decode(BytesView(head_).first(head_filled_));
    if (!head && head.error() == skep::errc::truncated) return n;
    if (!head) return head.error();
    head_filled_ = 0;
    is_last_ = head->kind == Head::Kind::error;
    if (head->body_size > (is_last_ ? max_last_words : max_message_)) return skep::errc::limit_exceeded;
    body_left_ = static_cast<std::size_t>(head->body_size);
    if (!is_last_ && !discarding_) {
      if (const auto refused = sink_->start(body_left_)) return refused;
    }
    in_body_ = true;
    if (body_left_ == 0) end_record();
    return n;
  }

  Result<std::size_t> take_body(BytesView piece) {
    std::size_t n = piece.size();
    if (is_last_) {
      append(last_words_, piece);
    } else if (!discarding_) {
      const MutableBytes place = sink_->destination();
      n = std::min(n, place.size());
      if (n == 0) return skep::errc::limit_exceeded;  // a sink that names no place
      std::memcpy(place.data(), piece.data(), n);
      if (const auto refused = sink_->filled(n)) return refused;
    }
    body_left_ -= n;
    if (body_left_ == 0) end_record();
    return n;
  }

  void end_record() noexcept {
    in_body_ = false;
    if (is_last_) {
      ended_ = true;
    } else if (!discarding_) {
      got_ = true;
      sink_ = nullptr;
    }
  }

  std::size_t max_message_;
  Bytes inbox_;
  std::size_t read_ = 0;
  std::array<std::uint8_t, Head::size> head_{};
  std::size_t head_filled_ = 0;
  std::size_t body_left_ = 0;
  AnyBodySink* sink_ = nullptr;
  Bytes last_words_;
  bool in_body_ = false;
  bool is_last_ = false;
  bool got_ = false;
  bool ended_ = false;
  bool discarding_ = false;
};

}  // namespace skep::inline v0::p2p
