// A MessagePack value: what Hivemind's records and schemas are made of, tuples told apart from lists.
#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "skep/core/bytes.hpp"

namespace skep::inline v0::codec::msgpack {

/// The extension types that Hivemind defines. Only tuples are opened here; the others belong to dht/ and moe/.
inline constexpr std::int8_t tuple_extension = 0x40;
inline constexpr std::int8_t dictionary_extension = 0x50;  ///< DictionaryDHTValue
inline constexpr std::int8_t descriptor_extension = 0x51;  ///< BatchTensorDescriptor

class Value;

using Array = std::vector<Value>;
/// Pairs in the order of the bytes. A foreign map may repeat a key.
using Map = std::vector<std::pair<Value, Value>>;

/// Hivemind's tuple: an array inside extension 0x40. Its readers tell it from a list, so it is a type of its own.
struct Tuple {
  Array items;
};

/// Any other extension, its data unread.
struct Extension {
  std::int8_t type = 0;
  Bytes data;
  friend bool operator==(const Extension&, const Extension&) = default;
};

/// One MessagePack value; nil when default-constructed.
class Value {
 public:
  /// Integers are std::int64_t; std::uint64_t holds only those above its range. Text is UTF-8, bytes are not text.
  using Storage = std::variant<std::monostate, bool, std::int64_t, std::uint64_t, double, std::string, Bytes, Array,
                               Map, Tuple, Extension>;

  Value() noexcept = default;
  template <std::integral T>
  Value(T value) noexcept {  // NOLINT(*-explicit-*): literals are values
    if constexpr (std::same_as<T, bool>) {
      storage_ = value;
    } else if (std::in_range<std::int64_t>(value)) {
      storage_ = static_cast<std::int64_t>(value);
    } else {
      storage_ = static_cast<std::uint64_t>(value);
    }
  }
  Value(std::floating_point auto value) noexcept : storage_(static_cast<double>(value)) {}  // NOLINT(*-explicit-*)
  Value(std::string value) noexcept : storage_(std::move(value)) {}                         // NOLINT(*-explicit-*)
  Value(std::string_view value) : storage_(std::string(value)) {}                           // NOLINT(*-explicit-*)
  Value(const char* value) : storage_(std::string(value)) {}                                // NOLINT(*-explicit-*)
  Value(Bytes value) noexcept : storage_(std::move(value)) {}                               // NOLINT(*-explicit-*)
  Value(Array value) noexcept : storage_(std::move(value)) {}                               // NOLINT(*-explicit-*)
  Value(Map value) noexcept : storage_(std::move(value)) {}                                 // NOLINT(*-explicit-*)
  Value(Tuple value) noexcept : storage_(std::move(value)) {}                               // NOLINT(*-explicit-*)
  Value(Extension value) noexcept : storage_(std::move(value)) {}                           // NOLINT(*-explicit-*)

  /// The alternative if it is the one that is held, else null: `if (const auto* text = value.get_if<std::string>())`.
  template <class T>
  [[nodiscard]] const T* get_if() const noexcept {
    return std::get_if<T>(&storage_);
  }
  template <class T>
  [[nodiscard]] T* get_if() noexcept {
    return std::get_if<T>(&storage_);
  }
  template <class T>
  [[nodiscard]] bool is() const noexcept {
    return std::holds_alternative<T>(storage_);
  }
  [[nodiscard]] bool is_nil() const noexcept { return is<std::monostate>(); }
  [[nodiscard]] const Storage& storage() const noexcept { return storage_; }

  /// The value under a text key of a map; null for another kind of value or when there is none.
  [[nodiscard]] const Value* find(std::string_view key) const noexcept;

  /// Of one type and equal in it: 1 and 1.0 are not. A template, so that only who compares compiles it.
  template <std::convertible_to<Value> T>
  friend bool operator==(const Value& a, const T& b) {
    if constexpr (std::same_as<T, Value>) {
      return a.storage_ == b.storage_;
    } else {
      return a == Value(b);
    }
  }

 private:
  Storage storage_;
};

inline bool operator==(const Tuple& a, const Tuple& b) { return a.items == b.items; }

inline const Value* Value::find(std::string_view key) const noexcept {
  if (const auto* map = get_if<Map>()) {
    for (const auto& [name, value] : *map) {
      if (const auto* text = name.get_if<std::string>(); text && *text == key) return &value;
    }
  }
  return nullptr;
}

}  // namespace skep::inline v0::codec::msgpack
