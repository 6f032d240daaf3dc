// MessagePack as Hivemind uses it: values written in the smallest forms, and read so that foreign bytes cannot exhaust.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "skep/codec/msgpack_reader.hpp"
#include "skep/codec/msgpack_value.hpp"
#include "skep/codec/msgpack_writer.hpp"
#include "skep/codec/utf8.hpp"
#include "skep/core/bytes.hpp"
#include "skep/core/error.hpp"
#include "skep/core/result.hpp"

namespace skep::inline v0::codec::msgpack {

/// How deep values may be nested, a container or tuple counting one.
inline constexpr std::size_t max_depth = 64;

/// Appends a value. Recurses as deep as the value is nested.
inline void append_value(Bytes& to, const Value& value) {
  struct Append {
    Bytes& to;
    void operator()(std::monostate) const { append_nil(to); }
    void operator()(bool b) const { append_boolean(to, b); }
    void operator()(std::int64_t n) const { append_integer(to, n); }
    void operator()(std::uint64_t n) const { append_unsigned(to, n); }
    void operator()(double d) const { append_real(to, d); }
    void operator()(const std::string& text) const { append_text(to, text); }
    void operator()(const Bytes& bytes) const { append_binary(to, bytes); }
    void operator()(const Array& array) const {
      append_array_head(to, array.size());
      for (const auto& item : array) append_value(to, item);
    }
    void operator()(const Map& map) const {
      append_map_head(to, map.size());
      for (const auto& [key, item] : map) {
        append_value(to, key);
        append_value(to, item);
      }
    }
    void operator()(const Tuple& tuple) const {
      Bytes data;
      Append{data}(tuple.items);
      append_extension(to, tuple_extension, data);
    }
    void operator()(const Extension& extension) const { append_extension(to, extension.type, extension.data); }
  };
  value.visit(Append{to});
}

[[nodiscard]] inline Bytes encode(const Value& value) {
  Bytes out;
  append_value(out, value);
  return out;
}

namespace detail {

/// Reads a value from tokens with a stack of its own, and builds it where there is a place for it; else it is only
/// checked, and nothing but that stack is allocated. No more elements are allocated than there are bytes.
class Decoder {
 public:
  explicit Decoder(BytesView bytes) noexcept : reader_(bytes) {}

  /// @param root  null: check only
  [[nodiscard]] Result<void> decode(Value* root, std::size_t depth_limit) {
    if (const auto begun = begin(root); !begun) return begun;
    while (!open_.empty()) {
      if (open_.size() > depth_limit) return errc::limit_exceeded;
      Container& top = open_.back();
      if (top.left == 0) {
        if (top.is_tuple) {  // the end of its extension
          if (!reader_.at_end()) return errc::malformed;
          reader_ = Reader(top.after);
          pending_ = top.pending_after;
        }
        open_.pop_back();
        continue;
      }
      --top.left;
      --pending_;
      if (const auto begun = begin(next_slot(top)); !begun) return begun;
    }
    if (!reader_.at_end()) return errc::malformed;
    return {};
  }

 private:
  struct Container {
    Value* value;      ///< null when only checked
    std::size_t left;  ///< values still to come
    bool is_tuple = false;
    BytesView after{};              ///< tuples only: the bytes behind the extension
    std::size_t pending_after = 0;  ///< tuples only: `pending_` outside
  };

  /// Reads the next token into `slot`; a container is opened. Its elements never move: their room is reserved at once.
  Result<void> begin(Value* slot) {
    const auto token = reader_.next();
    if (!token) return token.error();
    switch (token->kind) {
      case Kind::array: return open<Array>(slot, token->count(), 1);
      case Kind::map: return open<Map>(slot, token->count(), 2);
      case Kind::extension:
        if (token->extension_type == tuple_extension) return open_tuple(slot, token->bytes);
        break;
      default: break;
    }
    if (slot != nullptr) *slot = build(*token);
    return check_room();
  }

  static Value build(const Token& token) {
    switch (token.kind) {
      case Kind::boolean: return token.boolean();
      case Kind::integer: return token.integer();
      case Kind::unsigned_integer: return token.number;
      case Kind::real: return token.real();
      case Kind::text:
        if (is_utf8(token.bytes)) return as_text(token.bytes);
        return to_bytes(token.bytes);
      case Kind::binary: return to_bytes(token.bytes);
      case Kind::extension: return Extension{token.extension_type, to_bytes(token.bytes)};
      default: return {};
    }
  }

  template <class List>
  Result<void> open(Value* slot, std::size_t count, std::size_t values_each) {
    pending_ += count * values_each;
    if (const auto room = check_room(); !room) return room;
    if (slot != nullptr) {
      List list;
      list.reserve(count);
      *slot = std::move(list);
    }
    open_.push_back({slot, count * values_each});
    return {};
  }

  Result<void> open_tuple(Value* slot, BytesView data) {
    if (const auto room = check_room(); !room) return room;
    const BytesView after = reader_.rest();
    const std::size_t pending_after = std::exchange(pending_, 0);
    reader_ = Reader(data);
    const auto head = reader_.expect(Kind::array);
    if (!head) return head.error();
    if (const auto opened = open<Array>(slot, head->count(), 1); !opened) return opened;
    if (slot != nullptr) *slot = Tuple{std::move(*slot->get_if<Array>())};
    open_.back().is_tuple = true;
    open_.back().after = after;
    open_.back().pending_after = pending_after;
    return {};
  }

  /// Every value that is still to come takes at least one byte, so counts that cannot be true end here.
  [[nodiscard]] Result<void> check_room() const noexcept {
    if (pending_ > reader_.rest().size()) return errc::truncated;
    return {};
  }

  static Value* next_slot(Container& container) {
    if (container.value == nullptr) return nullptr;
    if (auto* array = container.value->get_if<Array>()) return &array->emplace_back();
    if (auto* tuple = container.value->get_if<Tuple>()) return &tuple->items.emplace_back();
    auto& map = *container.value->get_if<Map>();
    if (container.left % 2 == 1) return &map.emplace_back().first;
    return &map.back().second;
  }

  Reader reader_;
  std::vector<Container> open_;
  std::size_t pending_ = 0;  ///< values that open containers still wait for, inside the innermost tuple
};

}  // namespace detail

/// Reads exactly one value. Never recurses; memory stays below 48 bytes for each byte read.
/// @return errc::truncated; errc::malformed (bytes left over, an unused lead byte, a tuple that holds no array);
/// errc::limit_exceeded when nested deeper than `depth_limit`.
[[nodiscard]] inline Result<Value> decode(BytesView bytes, std::size_t depth_limit = max_depth) {
  Value value;
  if (const auto decoded = detail::Decoder(bytes).decode(&value, depth_limit); !decoded) return decoded.error();
  return value;
}

/// Whether `decode` would succeed; builds nothing.
[[nodiscard]] inline bool is_readable(BytesView bytes, std::size_t depth_limit = max_depth) {
  return detail::Decoder(bytes).decode(nullptr, depth_limit).has_value();
}

}  // namespace skep::inline v0::codec::msgpack
