// Byte vectors for tests: hexadecimal text to bytes, and vectors.json, taken from live peers and independent libraries.
#pragma once

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <string_view>

#include "skep/core/bytes.hpp"

namespace skep::test {

/// The bytes of hexadecimal text; spaces are skipped.
[[nodiscard]] inline Bytes from_hex(std::string_view text) {
  const auto digit = [](char c) -> int {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    throw std::invalid_argument("not a hexadecimal digit");
  };
  Bytes bytes;
  int high = -1;
  for (const char c : text) {
    if (c == ' ') continue;
    if (high < 0) {
      high = digit(c);
    } else {
      bytes.push_back(static_cast<std::uint8_t>(high * 16 + digit(c)));
      high = -1;
    }
  }
  if (high >= 0) throw std::invalid_argument("half a byte at the end");
  return bytes;
}

/// The whole of tests/vectors/vectors.json.
[[nodiscard]] inline const nlohmann::json& vectors() {
  static const nlohmann::json all = [] {
    const auto path = std::filesystem::path(__FILE__).parent_path() / "../vectors/vectors.json";
    std::ifstream file(path);
    if (!file) throw std::runtime_error("cannot read " + path.string());
    return nlohmann::json::parse(file);
  }();
  return all;
}

/// A text of vectors.json in hexadecimal, as bytes.
[[nodiscard]] inline Bytes hex_at(const nlohmann::json& object, const char* key) {
  return from_hex(object.at(key).get_ref<const std::string&>());
}

}  // namespace skep::test
