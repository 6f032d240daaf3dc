// JSON at the edge of the DHT: nlohmann::json for users, MessagePack values on the wire.
#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "skep/codec/msgpack.hpp"
#include "skep/core/bytes.hpp"
#include "skep/core/error.hpp"
#include "skep/core/time.hpp"
#include "skep/dht/options.hpp"

namespace skep::inline v0::dht {

using nlohmann::json;

/// A value for the DHT: integers stay integers, floats are float64, binary is bytes, arrays are lists. Throws
/// errc::limit_exceeded when it is nested deeper than others read.
[[nodiscard]] inline msgpack::Value to_value(const json& from, std::size_t depth = msgpack::max_depth) {
  if (depth == 0) {
    throw Error(errc::limit_exceeded,
                "a value for the DHT is nested deeper than " + std::to_string(msgpack::max_depth) + " levels");
  }
  switch (from.type()) {
    case json::value_t::boolean: return from.get_ref<const json::boolean_t&>();
    case json::value_t::number_integer: return from.get_ref<const json::number_integer_t&>();
    case json::value_t::number_unsigned: return from.get_ref<const json::number_unsigned_t&>();
    case json::value_t::number_float: return from.get_ref<const json::number_float_t&>();
    case json::value_t::string: return from.get_ref<const json::string_t&>();
    case json::value_t::binary: return Bytes(from.get_binary());
    case json::value_t::array: {
      msgpack::Array out;
      for (const auto& item : from.get_ref<const json::array_t&>()) out.push_back(to_value(item, depth - 1));
      return out;
    }
    case json::value_t::object: {
      msgpack::Map out;
      for (const auto& [key, item] : from.get_ref<const json::object_t&>()) {
        out.emplace_back(key, to_value(item, depth - 1));
      }
      return out;
    }
    case json::value_t::null:
    case json::value_t::discarded: break;
  }
  return {};
}

[[nodiscard]] inline json to_json(const msgpack::Value& from);

/// A key of a JSON object: a text as it is, anything else as its JSON text.
[[nodiscard]] inline std::string json_key(const msgpack::Value& key) {
  if (const auto* text = key.get_if<std::string>()) return *text;
  return to_json(key).dump(-1, ' ', false, json::error_handler_t::replace);
}

/// A value of the DHT as JSON. Tuples become arrays, bytes and unknown extensions binary; keys that are no text are
/// written as their JSON text.
[[nodiscard]] inline json to_json(const msgpack::Value& from) {
  struct Convert {
    json operator()(std::monostate) const { return nullptr; }
    json operator()(bool value) const { return value; }
    json operator()(std::int64_t value) const { return value; }
    json operator()(std::uint64_t value) const { return value; }
    json operator()(double value) const { return value; }
    json operator()(const std::string& value) const { return value; }
    json operator()(const Bytes& value) const { return json::binary(value); }
    json operator()(const msgpack::Array& value) const {
      json out(json::value_t::array);
      for (const auto& item : value) out.push_back(to_json(item));
      return out;
    }
    json operator()(const msgpack::Map& value) const {
      json out(json::value_t::object);
      for (const auto& [key, item] : value) out[json_key(key)] = to_json(item);
      return out;
    }
    json operator()(const msgpack::Tuple& value) const { return (*this)(value.items); }
    json operator()(const msgpack::Extension& value) const {
      return json::binary(value.data, static_cast<std::uint8_t>(value.type));
    }
  };
  return from.visit(Convert{});
}

/// `StoreItem` with JSON.
struct JsonStoreItem {
  std::string key;
  json value;
  WallTime expiration;
  std::optional<json> subkey = {};
};

struct JsonFoundItem {
  json subkey;
  json value;
  WallTime expiration;
};

/// `Found` with JSON. A dictionary stands in `value` as an object of its items' values, and in `items` with the exact
/// subkeys and expirations.
struct JsonFound {
  json value;
  WallTime expiration;
  bool is_dictionary = false;
  std::vector<JsonFoundItem> items = {};
};

[[nodiscard]] inline StoreItem to_store_item(JsonStoreItem item) {
  std::optional<msgpack::Value> subkey;
  if (item.subkey) subkey = to_value(*item.subkey);
  return {std::move(item.key), to_value(item.value), item.expiration, std::move(subkey)};
}

[[nodiscard]] inline JsonFound to_json(const Found& found) {
  JsonFound out{found.is_dictionary ? json(json::value_t::object) : to_json(found.value), found.expiration,
                found.is_dictionary};
  for (const auto& item : found.items) {
    out.items.push_back({to_json(item.subkey), to_json(item.value), item.expiration});
    out.value[json_key(item.subkey)] = out.items.back().value;
  }
  return out;
}
[[nodiscard]] inline std::optional<JsonFound> to_json(const std::optional<Found>& found) {
  return found ? std::optional(to_json(*found)) : std::nullopt;
}

}  // namespace skep::inline v0::dht
