// value_as<T>: a MessagePack value as a C++ type, exactly that type or not at all.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "skep/codec/msgpack_value.hpp"
#include "skep/core/bytes.hpp"

namespace skep::inline v0::dht {

/// A member of a struct and the text under which a map holds it.
template <class T, class M>
struct NamedMember {
  std::string_view name;
  M T::* member;
};
template <class T, class M>
[[nodiscard]] constexpr NamedMember<T, M> named(std::string_view name, M T::* member) noexcept {
  return {name, member};
}

/// A type with its own reading: `static std::optional<T> from_value(const codec::msgpack::Value&)`.
template <class T>
concept ReadsItself = requires(const codec::msgpack::Value& value) {
  { T::from_value(value) } -> std::same_as<std::optional<T>>;
};
/// A struct that lists its members: `static constexpr auto members() { return std::tuple{named("loss", &T::loss)}; }`.
template <class T>
concept NamesMembers = requires { T::members(); };

/// A value that also meets a condition: `Checked<double, [](double x) { return x >= 0; }>`.
template <class T, auto condition>
struct Checked {
  T value;
  friend auto operator<=>(const Checked&, const Checked&) = default;
};

template <class T>
[[nodiscard]] std::optional<T> value_as(const codec::msgpack::Value& value);

namespace detail {

template <class T>
struct ValueReader {
  static_assert(
      sizeof(T) == 0,
      "skep: a value of the DHT is read as bool, an integer, double, std::string, Bytes, std::vector, "
      "std::tuple, std::pair, std::map, std::optional, std::variant, msgpack::Value, a struct with members() or "
      "a type with from_value()");
};

template <class T>
concept HeldAsIs =
    std::same_as<T, bool> || std::same_as<T, double> || std::same_as<T, std::string> || std::same_as<T, Bytes>;

template <HeldAsIs T>
struct ValueReader<T> {
  static std::optional<T> read(const codec::msgpack::Value& value) {
    const T* const held = value.get_if<T>();
    return held ? std::optional<T>(*held) : std::nullopt;
  }
};
template <std::integral T>
  requires(!std::same_as<T, bool>)
struct ValueReader<T> {
  static std::optional<T> read(const codec::msgpack::Value& value) {
    const auto* small = value.get_if<std::int64_t>();
    if (small && std::in_range<T>(*small)) return static_cast<T>(*small);
    const auto* large = value.get_if<std::uint64_t>();
    if (large && std::in_range<T>(*large)) return static_cast<T>(*large);
    return std::nullopt;
  }
};
template <>
struct ValueReader<codec::msgpack::Value> {
  static std::optional<codec::msgpack::Value> read(const codec::msgpack::Value& value) { return value; }
};
template <class T>
struct ValueReader<std::optional<T>> {  // the outer optional: whether it could be read
  static std::optional<std::optional<T>> read(const codec::msgpack::Value& value) {
    if (value.is_nil()) return std::optional<std::optional<T>>(std::in_place, std::nullopt);
    auto held = value_as<T>(value);
    if (!held) return std::nullopt;
    return std::optional<std::optional<T>>(std::in_place, std::move(held));
  }
};
template <class T>
  requires(!HeldAsIs<std::vector<T>>)
struct ValueReader<std::vector<T>> {
  static std::optional<std::vector<T>> read(const codec::msgpack::Value& value) {
    const auto* list = value.get_if<codec::msgpack::Array>();
    if (!list) return std::nullopt;
    std::vector<T> out;
    out.reserve(list->size());
    for (const auto& item : *list) {
      auto held = value_as<T>(item);
      if (!held) return std::nullopt;
      out.push_back(*std::move(held));
    }
    return out;
  }
};

/// Hivemind's tuple; a list is none.
template <class Out, class... Ts>
struct TupleReader {
  static std::optional<Out> read(const codec::msgpack::Value& value) {
    const auto* tuple = value.get_if<codec::msgpack::Tuple>();
    if (!tuple || tuple->items.size() != sizeof...(Ts)) return std::nullopt;
    return [&]<std::size_t... I>(std::index_sequence<I...>) -> std::optional<Out> {
      std::tuple<std::optional<Ts>...> held{value_as<Ts>(tuple->items[I])...};
      if (!(std::get<I>(held) && ...)) return std::nullopt;
      return Out(*std::get<I>(std::move(held))...);
    }(std::index_sequence_for<Ts...>());
  }
};
template <class... Ts>
struct ValueReader<std::tuple<Ts...>> : TupleReader<std::tuple<Ts...>, Ts...> {};
template <class A, class B>
struct ValueReader<std::pair<A, B>> : TupleReader<std::pair<A, B>, A, B> {};

template <class K, class V>
struct ValueReader<std::map<K, V>> {
  static std::optional<std::map<K, V>> read(const codec::msgpack::Value& value) {
    const auto* map = value.get_if<codec::msgpack::Map>();
    if (!map) return std::nullopt;
    std::map<K, V> out;
    for (const auto& [key, item] : *map) {
      auto name = value_as<K>(key);
      auto held = value_as<V>(item);
      if (!name || !held || !out.emplace(*std::move(name), *std::move(held)).second) return std::nullopt;
    }
    return out;
  }
};
template <class... Ts>
struct ValueReader<std::variant<Ts...>> {  // the first that fits
  static std::optional<std::variant<Ts...>> read(const codec::msgpack::Value& value) {
    std::optional<std::variant<Ts...>> out;
    const auto attempt = [&]<class T>(std::type_identity<T>) {
      auto held = value_as<T>(value);
      if (held) out.emplace(std::in_place_type<T>, *std::move(held));
      return held.has_value();
    };
    (void)(attempt(std::type_identity<Ts>()) || ...);
    return out;
  }
};
template <class T, auto condition>
struct ValueReader<Checked<T, condition>> {
  static std::optional<Checked<T, condition>> read(const codec::msgpack::Value& value) {
    auto held = value_as<T>(value);
    if (!held || !condition(*held)) return std::nullopt;
    return Checked<T, condition>{*std::move(held)};
  }
};
template <ReadsItself T>
struct ValueReader<T> {
  static std::optional<T> read(const codec::msgpack::Value& value) { return T::from_value(value); }
};

template <class M>
inline constexpr bool may_be_absent = false;
template <class M>
inline constexpr bool may_be_absent<std::optional<M>> = true;

/// A map with each member once and nothing else; optional members may be absent.
template <NamesMembers T>
  requires(!ReadsItself<T>)
struct ValueReader<T> {
  static std::optional<T> read(const codec::msgpack::Value& value) {
    const auto* map = value.get_if<codec::msgpack::Map>();
    if (!map) return std::nullopt;
    T out{};
    std::size_t used = 0;
    const auto set = [&]<class M>(const NamedMember<T, M>& wanted) {
      const codec::msgpack::Value* found = nullptr;
      for (const auto& [key, item] : *map) {
        const auto* text = key.template get_if<std::string>();
        if (text && *text == wanted.name) found = &item;
      }
      if (!found) return may_be_absent<M>;
      ++used;
      auto held = value_as<M>(*found);
      if (held) out.*wanted.member = *std::move(held);
      return held.has_value();
    };
    const bool good = std::apply([&](const auto&... each) { return (set(each) && ...); }, T::members());
    if (!good || used != map->size()) return std::nullopt;  // a key that is there twice counts once
    return out;
  }
};

}  // namespace detail

/// Reads a value strictly: no number becomes another kind of number, no list a tuple, no text bytes. Structs are maps
/// with exactly their members. @return nothing when the value is of another type or out of range
template <class T>
[[nodiscard]] std::optional<T> value_as(const codec::msgpack::Value& value) {
  return detail::ValueReader<T>::read(value);
}

}  // namespace skep::inline v0::dht
