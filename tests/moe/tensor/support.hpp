// What the tests of tensors share: tensors from vectors.json, feeding a sink in pieces of any size.
#pragma once

#include <algorithm>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "skep/core/random.hpp"
#include "skep/moe/tensor/compression.hpp"
#include "skep/moe/tensor/tensor_sink.hpp"
#include "support/vectors.hpp"

namespace skep::test {

/// Hexadecimal text with spaces to bytes.
[[nodiscard]] inline Bytes from_hex(std::string_view text) {
  std::string digits(text);
  std::erase(digits, ' ');
  return skep_test::unhex(digits);
}
[[nodiscard]] inline const nlohmann::json& moe_vector(const std::string& name) {
  return skep_test::vector_of("moe", name);
}
[[nodiscard]] inline std::string text(const nlohmann::json& value) { return value.get<std::string>(); }

/// Nested lists of numbers as a float64 tensor; the shape is read from the nesting.
[[nodiscard]] inline torch::Tensor tensor_of_json(const nlohmann::json& lists) {
  std::vector<double> values;
  std::vector<std::int64_t> size;
  for (const auto* level = &lists; level->is_array(); level = &level->front()) {
    size.push_back(static_cast<std::int64_t>(level->size()));
    if (level->empty()) break;
  }
  const std::function<void(const nlohmann::json&)> collect = [&](const nlohmann::json& node) {
    if (node.is_array()) {
      for (const auto& child : node) collect(child);
    } else {
      values.push_back(node.get<double>());
    }
  };
  collect(lists);
  return torch::tensor(values, at::kDouble).reshape(size);
}

/// Feeds one message to a sink in pieces whose sizes `piece()` gives.
inline void feed(p2p::AnyBodySink& sink, BytesView message, const std::function<std::size_t()>& piece) {
  if (const auto refused = sink.start(message.size())) throw std::system_error(refused);
  while (!message.empty()) {
    const MutableBytes to = sink.destination();
    if (to.empty()) throw std::logic_error("a sink gave an empty destination while bytes were missing");
    const std::size_t n = std::min({to.size(), message.size(), std::max<std::size_t>(piece(), 1)});
    std::memcpy(to.data(), message.data(), n);
    message = message.subspan(n);
    if (const auto refused = sink.filled(n)) throw std::system_error(refused);
  }
}
inline void feed(p2p::AnyBodySink& sink, BytesView message) {
  feed(sink, message, [] { return std::size_t{1} << 30; });
}

/// The only tensor of an ExpertRequest or ExpertResponse around one Tensor message.
[[nodiscard]] inline Bytes expert_message(const Bytes& tensor) {
  Bytes message;
  codec::append_field_head(message, 2, tensor.size());
  append(message, tensor);
  return message;
}

}  // namespace skep::test
