// Reads a unary message as it arrives and stops where its body begins, so that the body can land where it stays.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>

#include "skep/codec/protobuf.hpp"
#include "skep/codec/rpc_messages.hpp"
#include "skep/core/bytes.hpp"
#include "skep/core/error.hpp"
#include "skep/core/result.hpp"

namespace skep::inline v0::codec {

/// What the body of a unary message is.
enum class UnaryKind : std::uint8_t { request, response, error };

/// The length prefix and the PersistentConnectionRequest of one unary call, in pieces of any size. `feed` it until
/// `at_body()`, take the next `body_left()` bytes of the stream elsewhere and report them by `body_taken`, then `feed`
/// on until `done()`. Fields may come in any order.
class UnaryReader {
 public:
  static constexpr std::size_t max_proto = 1024;  ///< of a handler's name, as long as multistream can carry

  /// @param limit  of the length prefix
  explicit UnaryReader(std::size_t limit = max_unary_message) noexcept : limit_(limit) {}

  /// Takes bytes from the front. @return how many: all of them, unless the body begins or the message is complete.
  /// errc::limit_exceeded (prefix, or a handler's name), errc::malformed (not such a message, or a field is missing).
  [[nodiscard]] Result<std::size_t> feed(BytesView bytes) {
    std::size_t used = 0;
    while (used < bytes.size() && state_ != State::body && state_ != State::done) {
      const BytesView rest = bytes.subspan(used);
      const auto step = consume(rest);
      if (!step) return step;
      used += *step;
    }
    return used;
  }

  /// The next bytes of the stream are the body; `kind()` and `body_left()` are known.
  [[nodiscard]] bool at_body() const noexcept { return state_ == State::body; }
  [[nodiscard]] bool done() const noexcept { return state_ == State::done; }
  [[nodiscard]] std::size_t body_left() const noexcept { return field_left_; }

  /// `n` bytes of the body were taken; call it once for an empty body too. @return as `feed`
  [[nodiscard]] Result<void> body_taken(std::size_t n) noexcept {
    advance(n);
    field_left_ -= n;
    if (field_left_ > 0) return {};
    return end_field();
  }

  [[nodiscard]] UnaryKind kind() const noexcept { return kind_; }
  /// Where a request's answer belongs; valid when `done()`.
  [[nodiscard]] const CallId& call_id() const noexcept { return call_id_; }
  /// A request's handler name; valid when `done()`.
  [[nodiscard]] const std::string& proto() const noexcept { return proto_; }

 private:
  enum class State : std::uint8_t { prefix, tag, length, varint, skip, call_id, proto, body, done };

  [[nodiscard]] Result<std::size_t> consume(BytesView rest) {
    switch (state_) {
      case State::prefix:
      case State::tag:
      case State::length:
      case State::varint: {
        const auto step = consume_number(rest[0]);
        if (!step) return step.error();
        return 1;
      }
      case State::skip:
      case State::call_id:
      case State::proto: return consume_field(rest);
      case State::body:
      case State::done: break;
    }
    return 0;
  }

  /// One byte of a varint. Protobuf does not insist on the shortest form.
  [[nodiscard]] Result<void> consume_number(std::uint8_t byte) noexcept {
    if (state_ != State::prefix) advance(1);
    if (shift_ == 63 && byte > 1) return errc::malformed;
    number_ |= std::uint64_t{byte & 0x7fU} << shift_;
    if (byte >= 0x80) {
      shift_ += 7;
      if (shift_ > 63 || (state_ != State::prefix && level_left() == 0)) return errc::malformed;
      return {};
    }
    const std::uint64_t number = number_;
    number_ = 0;
    shift_ = 0;
    switch (state_) {
      case State::prefix: return begin_message(number);
      case State::tag: return begin_field(number);
      case State::length: return begin_contents(number);
      default: return end_field();
    }
  }

  [[nodiscard]] Result<std::size_t> consume_field(BytesView rest) {
    const std::size_t n = std::min(rest.size(), field_left_);
    if (state_ == State::call_id) {
      std::copy_n(rest.begin(), n, call_id_.end() - static_cast<std::ptrdiff_t>(field_left_));
    } else if (state_ == State::proto) {
      proto_ += as_text(rest.first(n));
    }
    advance(n);
    field_left_ -= n;
    if (field_left_ == 0) {
      if (const auto ended = end_field(); !ended) return ended.error();
    }
    return n;
  }

  [[nodiscard]] Result<void> begin_message(std::uint64_t size) noexcept {
    if (size > limit_) return errc::limit_exceeded;
    if (size == 0) return errc::malformed;
    message_left_ = static_cast<std::size_t>(size);
    state_ = State::tag;
    return {};
  }

  [[nodiscard]] Result<void> begin_field(std::uint64_t tag) noexcept {
    if (tag < 8 || tag > std::numeric_limits<std::uint32_t>::max()) return errc::malformed;  // no field number
    tag_ = tag;
    switch (tag & 7) {  // the wire type
      case 0: state_ = State::varint; return level_left() > 0 ? Result<void>() : Result<void>(errc::malformed);
      case 1: return begin_skip(8);
      case 2: state_ = State::length; return level_left() > 0 ? Result<void>() : Result<void>(errc::malformed);
      case 5: return begin_skip(4);
      default: return errc::malformed;
    }
  }

  [[nodiscard]] Result<void> begin_skip(std::uint64_t size) noexcept {
    if (size > level_left()) return errc::malformed;
    field_left_ = static_cast<std::size_t>(size);
    state_ = State::skip;
    return field_left_ > 0 ? Result<void>() : end_field();
  }

  [[nodiscard]] Result<void> begin_contents(std::uint64_t size) noexcept {
    if (size > level_left()) return errc::malformed;
    if (in_call_ && kind_ == UnaryKind::request) {
      if (tag_ == bytes_field(1)) {
        has_peer_ = true;
      } else if (tag_ == bytes_field(2)) {
        if (size > max_proto) return errc::limit_exceeded;
        has_proto_ = true;
        proto_.clear();
        return begin_state(State::proto, size);
      } else if (tag_ == bytes_field(3)) {
        return begin_body(size, UnaryKind::request);
      }
    } else if (in_call_) {
      if (tag_ == bytes_field(1)) return begin_body(size, UnaryKind::response);
      if (tag_ == bytes_field(2)) return begin_body(size, UnaryKind::error);
    } else if (tag_ == bytes_field(1)) {
      if (size != call_id_.size()) return errc::malformed;
      has_call_id_ = true;
      return begin_state(State::call_id, size);
    } else if (tag_ == bytes_field(3) || tag_ == bytes_field(4)) {
      return begin_call(size, tag_ == bytes_field(3) ? UnaryKind::request : UnaryKind::response);
    }
    return begin_skip(size);
  }

  [[nodiscard]] Result<void> begin_state(State state, std::uint64_t size) noexcept {
    field_left_ = static_cast<std::size_t>(size);
    state_ = state;
    return size > 0 ? Result<void>() : end_field();
  }

  /// callUnary or unaryResponse: one of them, once.
  [[nodiscard]] Result<void> begin_call(std::uint64_t size, UnaryKind kind) noexcept {
    if (has_call_ || size == 0) return errc::malformed;
    has_call_ = true;
    in_call_ = true;
    kind_ = kind;
    call_left_ = static_cast<std::size_t>(size);
    state_ = State::tag;
    return {};
  }

  [[nodiscard]] Result<void> begin_body(std::uint64_t size, UnaryKind kind) noexcept {
    if (has_body_) return errc::malformed;
    has_body_ = true;
    kind_ = kind;
    field_left_ = static_cast<std::size_t>(size);
    state_ = State::body;
    return {};
  }

  [[nodiscard]] Result<void> end_field() noexcept {
    state_ = State::tag;
    if (in_call_ && call_left_ == 0) {
      in_call_ = false;
      if (!has_body_) return errc::malformed;
      if (kind_ == UnaryKind::request && !(has_peer_ && has_proto_)) return errc::malformed;
    }
    if (message_left_ > 0) return {};
    state_ = State::done;
    if (!has_call_ || !has_call_id_) return errc::malformed;
    return {};
  }

  [[nodiscard]] std::size_t level_left() const noexcept { return in_call_ ? call_left_ : message_left_; }
  void advance(std::size_t n) noexcept {
    message_left_ -= n;
    if (in_call_) call_left_ -= n;
  }

  std::size_t limit_;
  State state_ = State::prefix;
  UnaryKind kind_ = UnaryKind::request;
  bool in_call_ = false;
  bool has_call_ = false;
  bool has_call_id_ = false;
  bool has_peer_ = false;
  bool has_proto_ = false;
  bool has_body_ = false;
  unsigned shift_ = 0;
  std::uint64_t number_ = 0;
  std::uint64_t tag_ = 0;
  std::size_t message_left_ = 0;
  std::size_t call_left_ = 0;
  std::size_t field_left_ = 0;
  CallId call_id_{};
  std::string proto_;
};

}  // namespace skep::inline v0::codec
