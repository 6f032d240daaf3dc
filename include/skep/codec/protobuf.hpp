// Protobuf by protozero on skep's byte types: a writer, and a reader that reports malformed bytes instead of throwing.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <protozero/basic_pbf_writer.hpp>
#include <protozero/buffer_tmpl.hpp>
#include <protozero/pbf_reader.hpp>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "skep/core/bytes.hpp"
#include "skep/core/error.hpp"
#include "skep/core/result.hpp"
#include "skep/core/varint.hpp"

namespace skep::inline v0::codec::detail {

/// What protozero writes into. A type of its own, so that its customisation collides with no other library's.
struct ProtobufBuffer {
  Bytes* bytes;
};

[[nodiscard]] inline protozero::data_view data_view(BytesView bytes) noexcept {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace skep::inline v0::codec::detail

template <>
struct protozero::buffer_customization<skep::codec::detail::ProtobufBuffer> {
  using Buffer = skep::codec::detail::ProtobufBuffer;
  static std::size_t size(const Buffer* to) noexcept { return to->bytes->size(); }
  static void append(Buffer* to, const char* data, std::size_t count) {
    skep::append(*to->bytes, skep::as_bytes(std::string_view(data, count)));
  }
  static void append_zeros(Buffer* to, std::size_t count) { to->bytes->insert(to->bytes->end(), count, 0); }
  static void resize(Buffer* to, std::size_t size) { to->bytes->resize(size); }
  static void reserve_additional(Buffer* to, std::size_t size) { to->bytes->reserve(to->bytes->size() + size); }
  static void erase_range(Buffer* to, std::size_t from, std::size_t end) {
    const auto begin = to->bytes->begin();
    to->bytes->erase(begin + static_cast<std::ptrdiff_t>(from), begin + static_cast<std::ptrdiff_t>(end));
  }
  static char* at_pos(Buffer* to, std::size_t pos) { return reinterpret_cast<char*>(to->bytes->data()) + pos; }
  static void push_back(Buffer* to, char c) { to->bytes->push_back(static_cast<std::uint8_t>(c)); }
};

namespace skep::inline v0::codec {

/// Appends fields to a message. A method that ends in `_unless_default` leaves out an empty or zero value as proto3
/// does; the others always write.
class MessageWriter {
 public:
  explicit MessageWriter(Bytes& to) noexcept : buffer_{&to}, writer_(buffer_) {}
  MessageWriter(const MessageWriter&) = delete;
  MessageWriter& operator=(const MessageWriter&) = delete;

  void bytes(std::uint32_t number, BytesView value) { writer_.add_bytes(number, detail::data_view(value)); }
  void bytes_unless_default(std::uint32_t number, BytesView value) {
    if (!value.empty()) bytes(number, value);
  }
  void text(std::uint32_t number, std::string_view value) { bytes(number, as_bytes(value)); }
  void varint(std::uint32_t number, std::uint64_t value) { writer_.add_uint64(number, value); }
  void varint_unless_default(std::uint32_t number, std::uint64_t value) {
    if (value != 0) varint(number, value);
  }
  /// As protobuf sees it, -0.0 is not the default.
  void real_unless_default(std::uint32_t number, double value) {
    if (std::bit_cast<std::uint64_t>(value) != 0) writer_.add_double(number, value);
  }
  /// Packed, as proto3 writes repeated numbers; nothing for an empty list.
  template <class List>
  void packed_reals(std::uint32_t number, const List& values) {
    writer_.add_packed_double(number, values.begin(), values.end());
  }
  template <class List>
  void packed_varints(std::uint32_t number, const List& values) {
    writer_.add_packed_uint64(number, values.begin(), values.end());
  }
  /// A nested message, written even when it has no fields. `write(MessageWriter&)` fills it.
  template <class Write>
  void message(std::uint32_t number, Write&& write) {
    const std::size_t before = buffer_.bytes->size();
    {
      ProtozeroWriter nested(writer_, number);
      MessageWriter inner(*buffer_.bytes);
      write(inner);
    }
    if (buffer_.bytes->size() == before) bytes(number, {});  // protozero takes an empty nested message back
  }

 private:
  using ProtozeroWriter = protozero::basic_pbf_writer<detail::ProtobufBuffer>;

  detail::ProtobufBuffer buffer_;
  ProtozeroWriter writer_;
};

/// The bytes of a message with a member `write(MessageWriter&)`.
template <class Message>
[[nodiscard]] Bytes encode_message(const Message& message) {
  Bytes out;
  MessageWriter writer(out);
  message.write(writer);
  return out;
}

using FieldReader = protozero::pbf_reader;

/// What a reader of fields switches on: `case bytes_field(2): ...`, for texts and nested messages too.
[[nodiscard]] constexpr std::uint32_t bytes_field(std::uint32_t number) noexcept {
  return protozero::tag_and_type(number, protozero::pbf_wire_type::length_delimited);
}
[[nodiscard]] constexpr std::uint32_t varint_field(std::uint32_t number) noexcept {
  return protozero::tag_and_type(number, protozero::pbf_wire_type::varint);
}
[[nodiscard]] constexpr std::uint32_t real_field(std::uint32_t number) noexcept {
  return protozero::tag_and_type(number, protozero::pbf_wire_type::fixed64);
}

/// The contents of the current field, in the bytes of the message.
[[nodiscard]] inline BytesView view_of(FieldReader& field) {
  const auto view = field.get_view();
  return as_bytes(std::string_view(view.data(), view.size()));
}
[[nodiscard]] inline Bytes bytes_of(FieldReader& field) { return to_bytes(view_of(field)); }
[[nodiscard]] inline std::string text_of(FieldReader& field) { return std::string(as_text(view_of(field))); }
/// Not `get_bool()`, which looks at a byte before it knows that there is one.
[[nodiscard]] inline bool bool_of(FieldReader& field) { return field.get_uint64() != 0; }

/// Appends one more element, unless the list is full: a foreign message decides how many there are.
template <class T>
[[nodiscard]] Result<void> push_bounded(std::vector<T>& list, std::size_t limit, std::type_identity_t<T> value) {
  if (list.size() >= limit) return errc::limit_exceeded;
  list.push_back(std::move(value));
  return {};
}

/// Calls `visit(field)` for each field of a message; it switches on `field.tag_and_type()`, consumes the field (what it
/// does not know by `field.skip()`) and returns a `Result<void>`. @return its failure, or errc::malformed.
template <class Visit>
[[nodiscard]] Result<void> read_fields(BytesView message, Visit&& visit) {
  try {
    FieldReader field(detail::data_view(message));
    while (field.next()) {
      if (Result<void> step = visit(field); !step) return step;
    }
    return {};
  } catch (const protozero::exception&) {
    return errc::malformed;
  }
}

/// The values of a repeated bool, a byte each: std::vector<bool> is a class of its own, which costs every program.
using Bools = std::vector<std::uint8_t>;

/// Adds the numbers of a packed field to a list.
[[nodiscard]] inline Result<void> read_packed_reals(FieldReader& field, std::vector<double>& list, std::size_t limit) {
  const auto values = field.get_packed_double();
  if (values.size() > limit - std::min(limit, list.size())) return errc::limit_exceeded;
  for (const double value : values) list.push_back(value);
  return {};
}
[[nodiscard]] inline Result<void> read_packed_bools(FieldReader& field, Bools& list, std::size_t limit) {
  for (const std::uint64_t value : field.get_packed_uint64()) {
    if (const auto pushed = push_bounded(list, limit, value != 0); !pushed) return pushed;
  }
  return {};
}

/// A message that starts at its defaults and merges one set of fields.
template <class Message>
[[nodiscard]] Result<Message> decode_message(BytesView bytes) {
  Message message;
  if (const Result<void> merged = message.merge(bytes); !merged) return merged.error();
  return message;
}

/// Appends the tag and length of a field whose contents follow from elsewhere.
inline void append_field_head(Bytes& to, std::uint32_t number, std::uint64_t size) {
  append_varint(to, bytes_field(number));
  append_varint(to, size);
}
/// How many bytes a field of `size` bytes takes with its tag and length.
[[nodiscard]] constexpr std::size_t field_size(std::uint32_t number, std::size_t size) noexcept {
  return varint_size(bytes_field(number)) + varint_size(size) + size;
}

}  // namespace skep::inline v0::codec
