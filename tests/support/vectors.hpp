// The recorded bytes of tests/vectors/vectors.json, taken from live Hivemind or independent libraries.
#pragma once

#include <cstddef>
#include <cstdint>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "skep/core/bytes.hpp"

namespace skep_test {

/// The bytes of lower-case hexadecimal text; spaces between bytes are for the reader.
[[nodiscard]] inline skep::Bytes unhex(std::string_view text) {
  const auto digit = [&](char c) -> unsigned {
    if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0');
    if (c >= 'a' && c <= 'f') return static_cast<unsigned>(c - 'a') + 10;
    throw std::invalid_argument("not hexadecimal: " + std::string(text));
  };
  skep::Bytes bytes;
  bytes.reserve(text.size() / 2);
  while (!text.empty()) {
    if (text.front() == ' ') {
      text.remove_prefix(1);
      continue;
    }
    bytes.push_back(static_cast<std::uint8_t>(digit(text.at(0)) << 4 | digit(text.at(1))));
    text.remove_prefix(2);
  }
  return bytes;
}

/// An entry by its path: `vector_of("rpc", "unary_echo")`.
[[nodiscard]] inline const nlohmann::json& vector_of(const std::string& section, const std::string& name) {
  static const nlohmann::json all = [] {
    std::ifstream file(SKEP_TEST_VECTORS);
    return nlohmann::json::parse(file);
  }();
  return all.at(section).at(name);
}

/// The bytes under one key of an entry: `vector_bytes("rpc", "unary_echo", "request")`.
[[nodiscard]] inline skep::Bytes vector_bytes(const std::string& section, const std::string& name,
                                              const std::string& key) {
  return unhex(vector_of(section, name).at(key).get<std::string>());
}

/// The same for a key that holds a list of texts.
[[nodiscard]] inline std::vector<skep::Bytes> vector_list(const std::string& section, const std::string& name,
                                                          const std::string& key) {
  std::vector<skep::Bytes> list;
  for (const auto& text : vector_of(section, name).at(key)) list.push_back(unhex(text.get<std::string>()));
  return list;
}

}  // namespace skep_test
