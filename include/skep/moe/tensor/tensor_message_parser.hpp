// TensorMessageParser: reads an ExpertRequest or ExpertResponse as it arrives, so that buffers need not pass through
// it.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <system_error>
#include <utility>

#include "skep/codec/protobuf.hpp"
#include "skep/core/bytes.hpp"
#include "skep/core/error.hpp"
#include "skep/core/varint.hpp"

namespace skep::inline v0::moe {

/// Who hears what a parser finds. Once it has refused something, the rest of the message is skipped.
template <class R>
concept TensorMessageReceiver =
    requires(R& receiver, const R& constant, BytesView fields, std::size_t size, std::error_code error) {
      receiver.on_fields(fields);  ///< the message's fields but the tensors; before a tensor and at the end
      { receiver.on_buffer(size) } -> std::same_as<MutableBytes>;  ///< where a buffer of this size goes
      receiver.on_part(fields);                                    ///< a tensor has ended; its fields but the buffer
      receiver.on_malformed(error);
      { constant.refused() } -> std::same_as<bool>;
    };

/// Takes a message in pieces of any size by the BodySink protocol (wire: field 2 holds tensors, in each field 1 the
/// buffer). Heads are read through a small window; what of a buffer comes along is moved on, the rest goes directly
/// where the receiver wants it. Small fields are collected and bounded.
template <TensorMessageReceiver Receiver>
class TensorMessageParser {
 public:
  /// @param max_fields  bytes of a message's fields other than tensors
  TensorMessageParser(Receiver& receiver, std::size_t max_fields) : receiver_(receiver), max_fields_(max_fields) {}

  /// A message of `size` bytes comes.
  void start(std::size_t size) {
    message_left_ = size;
    state_ = receiver_.refused() ? State::skip : State::tag;
    in_tensor_ = false;
    number_.clear();
    fields_.clear();
    if (size == 0) finish();
  }
  /// Where the next bytes go; not empty while bytes are missing.
  [[nodiscard]] MutableBytes destination() {
    if (state_ == State::buffer) return place_;
    if (state_ == State::skip) window_.resize(skip_window);
    return MutableBytes(window_).first(std::min(window_.size(), message_left_));
  }
  void filled(std::size_t n) {
    if (state_ == State::buffer) {
      advance_buffer(n);
    } else {
      BytesView piece = BytesView(window_).first(n);
      while (!piece.empty()) piece = consume(piece);
    }
    if (message_left_ == 0) finish();
  }

 private:
  /// Where the parser stands: before a field's tag, in the varint of a length, in a varint's value, copying a small
  /// field, in a buffer, or skipping.
  enum class State : std::uint8_t { tag, length, varint, copy, buffer, skip };

  static constexpr std::size_t max_header = 1024;  // bytes of a tensor's fields besides its buffer
  static constexpr std::size_t head_window = 64;   // how much of a buffer may come along with the head before it
  static constexpr std::size_t skip_window = 16 * 1024;

  void advance_buffer(std::size_t n) {
    place_ = place_.subspan(n);
    take_bytes(n);
    if (place_.empty()) end_field();
  }
  void take_bytes(std::size_t n) noexcept {
    message_left_ -= n;
    if (in_tensor_) tensor_left_ -= n;
  }

  /// Takes what belongs to the present state from the front of `piece`; returns the rest.
  [[nodiscard]] BytesView consume(BytesView piece) {
    if (state_ == State::skip) {
      message_left_ -= piece.size();
      return {};
    }
    if (state_ == State::buffer) {
      const std::size_t n = std::min(place_.size(), piece.size());
      std::memcpy(place_.data(), piece.data(), n);
      advance_buffer(n);
      return piece.subspan(n);
    }
    if (state_ == State::copy) {
      const std::size_t n = std::min(copy_left_, piece.size());
      append(fields_of_level(), piece.first(n));
      take_bytes(n);
      copy_left_ -= n;
      if (copy_left_ == 0) end_field();
      return piece.subspan(n);
    }
    const std::uint8_t byte = piece.front();
    take_bytes(1);
    number_.push_back(byte);
    if (byte < 0x80) {
      end_number();
    } else if (number_.size() >= max_varint_size || level_left() == 0) {
      malformed();
    }
    return piece.subspan(1);
  }

  void end_number() {
    std::uint64_t value = 0;  // protobuf allows padded varints
    for (std::size_t i = 0; i < number_.size(); ++i) value |= static_cast<std::uint64_t>(number_[i] & 0x7fU) << (7 * i);
    if (state_ == State::tag) tag_ = value;
    if (!opens_something()) {
      if (!has_room(number_.size())) return malformed(make_error_code(errc::limit_exceeded));
      append(fields_of_level(), number_);
    }
    number_.clear();
    if (state_ == State::tag) {
      begin_field();
    } else if (state_ == State::length) {
      begin_contents(value);
    } else {
      end_field();
    }
  }

  void begin_field() {
    switch (tag_ & 7) {
      case 0: state_ = State::varint; break;
      case 1: copy(8); return;
      case 2: state_ = State::length; break;
      case 5: copy(4); return;
      default: malformed(); return;
    }
    if (level_left() == 0) malformed();
  }

  /// True for the fields that are not collected: a tensor in the message, the buffer in a tensor.
  [[nodiscard]] bool opens_something() const noexcept { return tag_ == codec::bytes_field(in_tensor_ ? 1 : 2); }

  void begin_contents(std::uint64_t announced) {
    if (announced > level_left()) return malformed();
    const auto size = static_cast<std::size_t>(announced);
    if (!opens_something()) return copy(size);
    if (in_tensor_) return begin_buffer(size);
    hand_over_fields();
    if (skips()) return;
    in_tensor_ = true;
    has_buffer_ = false;
    tensor_left_ = size;
    tensor_fields_.clear();
    end_field();
  }

  void copy(std::size_t size) {
    if (size > level_left()) return malformed();
    if (!has_room(size)) return malformed(make_error_code(errc::limit_exceeded));
    copy_left_ = size;
    state_ = State::copy;
    if (size == 0) end_field();
  }

  void begin_buffer(std::size_t size) {
    if (std::exchange(has_buffer_, true)) return malformed();
    place_ = receiver_.on_buffer(size);
    if (skips()) return;
    state_ = State::buffer;
    if (size == 0) end_field();
  }

  /// After a field of the present level, and after the tensor that ends with it.
  void end_field() {
    state_ = State::tag;
    if (!in_tensor_ || tensor_left_ > 0) return;
    in_tensor_ = false;
    receiver_.on_part(tensor_fields_);
    (void)skips();
  }

  void hand_over_fields() {
    if (fields_.empty()) return;
    receiver_.on_fields(fields_);
    fields_.clear();
  }
  void finish() {
    if (state_ == State::skip) return;
    if (state_ != State::tag || in_tensor_ || !number_.empty()) return malformed();
    hand_over_fields();
  }
  void malformed(std::error_code error = make_error_code(errc::malformed)) {
    state_ = State::skip;
    receiver_.on_malformed(error);
  }
  /// Whether the receiver wants nothing more of this message.
  [[nodiscard]] bool skips() {
    if (receiver_.refused()) state_ = State::skip;
    return state_ == State::skip;
  }

  [[nodiscard]] std::size_t level_left() const noexcept { return in_tensor_ ? tensor_left_ : message_left_; }
  /// For so many bytes more among the collected fields of the level.
  [[nodiscard]] bool has_room(std::size_t size) noexcept {
    const std::size_t limit = in_tensor_ ? max_header : max_fields_;
    return size <= limit - std::min(limit, fields_of_level().size());
  }
  [[nodiscard]] Bytes& fields_of_level() noexcept { return in_tensor_ ? tensor_fields_ : fields_; }

  Receiver& receiver_;
  std::size_t max_fields_;
  State state_ = State::tag;
  bool in_tensor_ = false;
  bool has_buffer_ = false;
  std::size_t message_left_ = 0;
  std::size_t tensor_left_ = 0;
  std::size_t copy_left_ = 0;
  std::uint64_t tag_ = 0;
  MutableBytes place_;   // the rest of the buffer being received
  Bytes number_;         // the varint being read
  Bytes fields_;         // the message's fields but the tensors
  Bytes tensor_fields_;  // the tensor's fields but the buffer
  Bytes window_ = Bytes(head_window);
};

}  // namespace skep::inline v0::moe
