// Reads the Python literals of the recorded vectors (None, True, numbers, str, bytes, list, tuple, dict) as values.
#pragma once

#include <cstddef>
#include <limits>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "skep/codec/msgpack.hpp"

namespace skep_test {

class PythonLiteral {
 public:
  using Value = skep::codec::msgpack::Value;

  [[nodiscard]] static Value read(std::string_view text) {
    PythonLiteral reader(text);
    Value value = reader.value();
    if (!reader.rest_.empty()) throw std::invalid_argument("no Python literal: " + std::string(text));
    return value;
  }

 private:
  explicit PythonLiteral(std::string_view text) : rest_(text) {}

  bool take(std::string_view prefix) {
    if (!rest_.starts_with(prefix)) return false;
    rest_.remove_prefix(prefix.size());
    return true;
  }

  std::string quoted() {
    const std::size_t end = rest_.find('\'');
    std::string text(rest_.substr(0, end));
    rest_.remove_prefix(end + 1);
    return text;
  }

  skep::codec::msgpack::Array items(std::string_view closing) {
    skep::codec::msgpack::Array list;
    while (!take(closing)) {
      list.push_back(value());
      if (!take(", ")) take(",");
    }
    return list;
  }

  Value value() {
    if (take("None")) return {};
    if (take("True")) return true;
    if (take("False")) return false;
    if (take("inf")) return std::numeric_limits<double>::infinity();
    if (take("b'")) return skep::to_bytes(quoted());
    if (take("'")) return quoted();
    if (take("[")) return items("]");
    if (take("(")) return skep::codec::msgpack::Tuple{items(")")};
    if (take("{")) {
      skep::codec::msgpack::Map map;
      while (!take("}")) {
        Value key = value();
        take(": ");
        Value item = value();
        map.emplace_back(std::move(key), std::move(item));
        take(", ");
      }
      return map;
    }
    const std::size_t end = std::min(rest_.find_first_not_of("0123456789+-.e"), rest_.size());
    const std::string number(rest_.substr(0, end));
    rest_.remove_prefix(end);
    if (number.find_first_of(".e") != std::string::npos) return std::stod(number);
    if (number.front() == '-') return std::stoll(number);
    return std::stoull(number);
  }

  std::string_view rest_;
};

}  // namespace skep_test
