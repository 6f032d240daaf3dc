// The messages of Hivemind's RPC over libp2p streams: unary requests and answers, and the records of streaming calls.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "skep/codec/protobuf.hpp"
#include "skep/core/bytes.hpp"
#include "skep/core/endian.hpp"
#include "skep/core/error.hpp"
#include "skep/core/result.hpp"
#include "skep/core/varint.hpp"

namespace skep::inline v0::codec {

/// Names a unary call in the daemon of the callee; always random.
using CallId = std::array<std::uint8_t, 16>;

/// The limit of a whole unary message, the value of its length prefix. Both sides of Hivemind enforce it.
inline constexpr std::size_t max_unary_message = 4 * 1024 * 1024;

namespace detail {

[[nodiscard]] inline Result<void> read_call_id(BytesView bytes, std::optional<CallId>& to) {
  CallId id;
  if (bytes.size() != id.size()) return errc::malformed;
  std::copy(bytes.begin(), bytes.end(), id.begin());
  to = id;
  return {};
}

}  // namespace detail

/// A unary request: PersistentConnectionRequest{callId, callUnary}. All fields are required, empty ones too.
struct UnaryRequest {
  CallId call_id{};
  Bytes peer;         ///< the callee's peer id; readers ignore it and use the authenticated one
  std::string proto;  ///< the handler's name, "Service.method"
  Bytes data;         ///< the request message

  /// Without the length prefix. Large bodies go out by `encode_unary_request_head` instead.
  [[nodiscard]] Bytes encode() const { return encode_message(*this); }
  void write(MessageWriter& out) const {
    out.bytes(1, call_id);
    out.message(3, [this](MessageWriter& call) {
      call.bytes(1, peer);
      call.text(2, proto);
      call.bytes(3, data);
    });
  }
  /// @return errc::malformed for a missing field or a call id that is not 16 bytes long.
  [[nodiscard]] static Result<UnaryRequest> decode(BytesView bytes) {
    UnaryRequest request;
    std::optional<CallId> id;
    bool has_peer = false;
    bool has_proto = false;
    bool has_data = false;
    const auto read_call = [&](FieldReader& field) -> Result<void> {
      switch (field.tag_and_type()) {
        case bytes_field(1):
          request.peer = bytes_of(field);
          has_peer = true;
          return {};
        case bytes_field(2):
          request.proto = text_of(field);
          has_proto = true;
          return {};
        case bytes_field(3):
          request.data = bytes_of(field);
          has_data = true;
          return {};
        default: field.skip(); return {};
      }
    };
    const auto read = read_fields(bytes, [&](FieldReader& field) -> Result<void> {
      switch (field.tag_and_type()) {
        case bytes_field(1): return detail::read_call_id(view_of(field), id);
        case bytes_field(3): return read_fields(view_of(field), read_call);
        default: field.skip(); return {};
      }
    });
    if (!read) return read.error();
    if (!id || !has_peer || !has_proto || !has_data) return errc::malformed;
    request.call_id = *id;
    return request;
  }
  friend bool operator==(const UnaryRequest&, const UnaryRequest&) = default;
};

/// A unary answer: PersistentConnectionRequest{callId, unaryResponse}. Exactly one of `response` and `error` is set, or
/// a caller waits for ever; an empty response is written all the same.
struct UnaryResponse {
  CallId call_id{};
  std::optional<Bytes> response;     ///< the response message
  std::optional<std::string> error;  ///< the callee's words, as Python's repr of an exception

  /// Without the length prefix. Large bodies go out by `encode_unary_response_head` instead.
  [[nodiscard]] Bytes encode() const { return encode_message(*this); }
  void write(MessageWriter& out) const {
    out.bytes(1, call_id);
    out.message(4, [this](MessageWriter& answer) {
      if (response) answer.bytes(1, *response);
      if (error) answer.text(2, *error);
    });
  }
  /// @return errc::malformed for a missing field, a bad call id, or an answer that is neither response nor error.
  [[nodiscard]] static Result<UnaryResponse> decode(BytesView bytes) {
    UnaryResponse answer;
    std::optional<CallId> id;
    const auto read_answer = [&](FieldReader& field) -> Result<void> {
      switch (field.tag_and_type()) {
        case bytes_field(1):
          answer.response = bytes_of(field);
          answer.error.reset();
          return {};
        case bytes_field(2):
          answer.error = text_of(field);
          answer.response.reset();
          return {};
        default: field.skip(); return {};
      }
    };
    const auto read = read_fields(bytes, [&](FieldReader& field) -> Result<void> {
      switch (field.tag_and_type()) {
        case bytes_field(1): return detail::read_call_id(view_of(field), id);
        case bytes_field(4): return read_fields(view_of(field), read_answer);
        default: field.skip(); return {};
      }
    });
    if (!read) return read.error();
    if (!id || (!answer.response && !answer.error)) return errc::malformed;
    answer.call_id = *id;
    return answer;
  }
  friend bool operator==(const UnaryResponse&, const UnaryResponse&) = default;
};

/// Everything of a unary request up to its `data`, length prefix included, so that the data can follow from where it
/// lies. @return errc::limit_exceeded when the message would be longer than `max_unary_message`.
[[nodiscard]] inline Result<Bytes> encode_unary_request_head(const CallId& id, BytesView peer, std::string_view proto,
                                                             std::size_t data_size) {
  if (data_size > max_unary_message) return errc::limit_exceeded;
  const std::size_t call = field_size(1, peer.size()) + field_size(2, proto.size()) + field_size(3, data_size);
  const std::size_t message = field_size(1, id.size()) + field_size(3, call);
  if (message > max_unary_message) return errc::limit_exceeded;
  Bytes head;
  head.reserve(varint_size(message) + message - data_size);
  append_varint(head, message);
  append_field_head(head, 1, id.size());
  append(head, id);
  append_field_head(head, 3, call);
  append_field_head(head, 1, peer.size());
  append(head, peer);
  append_field_head(head, 2, proto.size());
  append(head, as_bytes(proto));
  append_field_head(head, 3, data_size);
  return head;
}

/// Everything of a unary answer up to its `response`, length prefix included.
/// @return errc::limit_exceeded when the message would be longer than `max_unary_message`.
[[nodiscard]] inline Result<Bytes> encode_unary_response_head(const CallId& id, std::size_t response_size) {
  if (response_size > max_unary_message) return errc::limit_exceeded;
  const std::size_t answer = field_size(1, response_size);
  const std::size_t message = field_size(1, id.size()) + field_size(4, answer);
  if (message > max_unary_message) return errc::limit_exceeded;
  Bytes head;
  head.reserve(varint_size(message) + message - response_size);
  append_varint(head, message);
  append_field_head(head, 1, id.size());
  append(head, id);
  append_field_head(head, 4, answer);
  append_field_head(head, 1, response_size);
  return head;
}

/// A unary answer that carries an error, length prefix included. The text is cut so that the answer always fits.
[[nodiscard]] inline Bytes encode_unary_error(const CallId& id, std::string_view text) {
  UnaryResponse answer{.call_id = id, .response = {}, .error = std::string(text.substr(0, 64 * 1024))};
  const Bytes message = answer.encode();
  Bytes framed;
  framed.reserve(varint_size(message.size()) + message.size());
  append_varint(framed, message.size());
  append(framed, message);
  return framed;
}

/// The body of an error record in a streaming call, and (empty) of the caller's end-of-input record.
struct RPCError {
  std::string message;

  [[nodiscard]] Bytes encode() const { return encode_message(*this); }
  void write(MessageWriter& out) const { out.bytes_unless_default(1, as_bytes(message)); }
  [[nodiscard]] Result<void> merge(BytesView bytes) {
    return read_fields(bytes, [this](FieldReader& field) -> Result<void> {
      if (field.tag_and_type() == bytes_field(1)) {
        message = text_of(field);
      } else {
        field.skip();
      }
      return {};
    });
  }
  [[nodiscard]] static Result<RPCError> decode(BytesView bytes) { return decode_message<RPCError>(bytes); }
  friend bool operator==(const RPCError&, const RPCError&) = default;
};

/// The nine bytes before the body of each record of a streaming call: a marker and the body's length, big-endian.
struct StreamRecordHead {
  static constexpr std::size_t size = 9;
  enum class Kind : std::uint8_t {
    message = 0,  ///< the body is a message of the method
    error = 1,    ///< from the callee: the body is an RPCError; from the caller: the end of its input
  };

  Kind kind = Kind::message;
  std::uint64_t body_size = 0;

  [[nodiscard]] std::array<std::uint8_t, size> encode() const noexcept {
    std::array<std::uint8_t, size> out;
    out[0] = static_cast<std::uint8_t>(kind);
    store_be(out.data() + 1, body_size);
    return out;
  }
  /// @return errc::truncated when more bytes are needed, errc::malformed for another marker than 0 and 1.
  [[nodiscard]] static Result<StreamRecordHead> decode(BytesView bytes) noexcept {
    if (bytes.empty()) return errc::truncated;
    if (bytes[0] > 1) return errc::malformed;
    if (bytes.size() < size) return errc::truncated;
    return StreamRecordHead{static_cast<Kind>(bytes[0]), load_be<std::uint64_t>(bytes.data() + 1)};
  }
  friend bool operator==(const StreamRecordHead&, const StreamRecordHead&) = default;
};

}  // namespace skep::inline v0::codec
