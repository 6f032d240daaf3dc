// A MessagePack value: what Hivemind's records and schemas are made of, tuples told apart from lists.
#pragma once

#include <concepts>
#include <cstdint>
#include <memory>
#include <new>
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

/// One MessagePack value; nil when default-constructed or moved from.
///
/// Integers are std::int64_t; std::uint64_t holds only those above its range. Text is UTF-8, bytes are not text. A
/// union of its own and no std::variant: of all that a DHT program compiles, that one cost the most.
class Value {
 public:
  Value() noexcept : integer_(0) {}
  template <std::integral T>
  Value(T value) noexcept {  // NOLINT(*-explicit-*): literals are values
    if constexpr (std::same_as<T, bool>) {
      boolean_ = value;
      held_ = Held::boolean;
    } else if (std::in_range<std::int64_t>(value)) {
      integer_ = static_cast<std::int64_t>(value);
      held_ = Held::integer;
    } else {
      unsigned_ = static_cast<std::uint64_t>(value);
      held_ = Held::unsigned_integer;
    }
  }
  // NOLINTBEGIN(*-explicit-*)
  Value(std::floating_point auto value) noexcept : real_(static_cast<double>(value)), held_(Held::real) {}
  Value(std::string value) noexcept : text_(std::move(value)), held_(Held::text) {}
  Value(std::string_view value) : text_(value), held_(Held::text) {}
  Value(const char* value) : text_(value), held_(Held::text) {}
  Value(Bytes value) noexcept : bytes_(std::move(value)), held_(Held::bytes) {}
  Value(Array value) noexcept : array_(std::move(value)), held_(Held::array) {}
  Value(Map value) noexcept : map_(std::move(value)), held_(Held::map) {}
  Value(Tuple value) noexcept : tuple_(std::move(value)), held_(Held::tuple) {}
  Value(Extension value) noexcept : extension_(std::move(value)), held_(Held::extension) {}
  // NOLINTEND(*-explicit-*)

  Value(const Value& other) : integer_(0) { copy(other); }
  Value(Value&& other) noexcept : integer_(0) { take(other); }
  Value& operator=(const Value& other) { return *this = Value(other); }
  Value& operator=(Value&& other) noexcept {
    Value taken(std::move(other));  // it may be a part of what is destroyed here
    clear();
    take(taken);
    return *this;
  }
  ~Value() { clear(); }

  /// The alternative if it is the one that is held, else null: `if (const auto* text = value.get_if<std::string>())`.
  template <class T>
  [[nodiscard]] const T* get_if() const noexcept {
    constexpr auto place = place_of<T>();
    return held_ == place.first ? &(this->*place.second) : nullptr;
  }
  template <class T>
  [[nodiscard]] T* get_if() noexcept {
    return const_cast<T*>(std::as_const(*this).get_if<T>());  // NOLINT(*-const-cast)
  }
  template <class T>
  [[nodiscard]] bool is() const noexcept {
    return get_if<T>() != nullptr;
  }
  [[nodiscard]] bool is_nil() const noexcept { return held_ == Held::nil; }

  /// Calls `visitor` with what is held, std::monostate for nil.
  template <class Visitor>
  decltype(auto) visit(const Visitor& visitor) const {
    switch (held_) {
      case Held::nil: break;
      case Held::boolean: return visitor(boolean_);
      case Held::integer: return visitor(integer_);
      case Held::unsigned_integer: return visitor(unsigned_);
      case Held::real: return visitor(real_);
      case Held::text: return visitor(text_);
      case Held::bytes: return visitor(bytes_);
      case Held::array: return visitor(array_);
      case Held::map: return visitor(map_);
      case Held::tuple: return visitor(tuple_);
      case Held::extension: return visitor(extension_);
    }
    return visitor(std::monostate());
  }

  /// The value under a text key of a map; null for another kind of value or when there is none.
  [[nodiscard]] const Value* find(std::string_view key) const noexcept;

  /// Of one type and equal in it: 1 and 1.0 are not. A template, so that only who compares compiles it.
  template <std::convertible_to<Value> T>
  friend bool operator==(const Value& a, const T& b) {
    if constexpr (std::same_as<T, Value>) {
      return a.held_ == b.held_ && a.visit([&b]<class Kind>(const Kind& held) {
        if constexpr (std::same_as<Kind, std::monostate>) {
          return true;
        } else {
          return held == *b.template get_if<Kind>();
        }
      });
    } else {
      return a == Value(b);
    }
  }

 private:
  enum class Held : std::uint8_t {
    nil,
    boolean,
    integer,
    unsigned_integer,
    real,
    text,
    bytes,
    array,
    map,
    tuple,
    extension,
  };

  template <class T>
  static consteval auto place_of() {
    if constexpr (std::same_as<T, bool>) return std::pair(Held::boolean, &Value::boolean_);
    if constexpr (std::same_as<T, std::int64_t>) return std::pair(Held::integer, &Value::integer_);
    if constexpr (std::same_as<T, std::uint64_t>) return std::pair(Held::unsigned_integer, &Value::unsigned_);
    if constexpr (std::same_as<T, double>) return std::pair(Held::real, &Value::real_);
    if constexpr (std::same_as<T, std::string>) return std::pair(Held::text, &Value::text_);
    if constexpr (std::same_as<T, Bytes>) return std::pair(Held::bytes, &Value::bytes_);
    if constexpr (std::same_as<T, Array>) return std::pair(Held::array, &Value::array_);
    if constexpr (std::same_as<T, Map>) return std::pair(Held::map, &Value::map_);
    if constexpr (std::same_as<T, Tuple>) return std::pair(Held::tuple, &Value::tuple_);
    if constexpr (std::same_as<T, Extension>) return std::pair(Held::extension, &Value::extension_);
  }

  // copy() and take() begin with a value that is nil
  void copy(const Value& from) {
    switch (from.held_) {
      case Held::nil: break;
      case Held::boolean: boolean_ = from.boolean_; break;
      case Held::integer: integer_ = from.integer_; break;
      case Held::unsigned_integer: unsigned_ = from.unsigned_; break;
      case Held::real: real_ = from.real_; break;
      case Held::text: new (&text_) std::string(from.text_); break;
      case Held::bytes: new (&bytes_) Bytes(from.bytes_); break;
      case Held::array: new (&array_) Array(from.array_); break;
      case Held::map: new (&map_) Map(from.map_); break;
      case Held::tuple: new (&tuple_) Tuple(from.tuple_); break;
      case Held::extension: new (&extension_) Extension(from.extension_); break;
    }
    held_ = from.held_;
  }
  void take(Value& from) noexcept {
    switch (from.held_) {
      case Held::text: new (&text_) std::string(std::move(from.text_)); break;
      case Held::bytes: new (&bytes_) Bytes(std::move(from.bytes_)); break;
      case Held::array: new (&array_) Array(std::move(from.array_)); break;
      case Held::map: new (&map_) Map(std::move(from.map_)); break;
      case Held::tuple: new (&tuple_) Tuple(std::move(from.tuple_)); break;
      case Held::extension: new (&extension_) Extension(std::move(from.extension_)); break;
      default: copy(from); break;
    }
    held_ = from.held_;
    from.clear();
  }
  void clear() noexcept {
    switch (std::exchange(held_, Held::nil)) {
      case Held::text: std::destroy_at(&text_); break;
      case Held::bytes: std::destroy_at(&bytes_); break;
      case Held::array: std::destroy_at(&array_); break;
      case Held::map: std::destroy_at(&map_); break;
      case Held::tuple: std::destroy_at(&tuple_); break;
      case Held::extension: std::destroy_at(&extension_); break;
      default: break;
    }
  }

  union {
    bool boolean_;
    std::int64_t integer_;
    std::uint64_t unsigned_;
    double real_;
    std::string text_;
    Bytes bytes_;
    Array array_;
    Map map_;
    Tuple tuple_;
    Extension extension_;
  };
  Held held_ = Held::nil;
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
