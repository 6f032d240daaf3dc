// Shapes of an expert's inputs as a flag names them: 512, 128x64, 128:bool.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "skep/cli/checks.hpp"

namespace skep::inline v0::cli {

/// One sample of an input, without the batch dimension.
struct SampleShape {
  std::vector<std::int64_t> size;  ///< empty: one number a sample
  std::string dtype = "float32";

  friend bool operator==(const SampleShape&, const SampleShape&) = default;
};

/// Reads `512`, `128x64` or `128:int64`, and `scalar` for one number a sample; nullopt for what is none of these.
[[nodiscard]] inline std::optional<SampleShape> sample_shape(std::string_view text) {
  SampleShape shape;
  if (const auto colon = text.find(':'); colon != std::string_view::npos) {
    shape.dtype = text.substr(colon + 1);
    text = text.substr(0, colon);
    if (shape.dtype.empty()) return std::nullopt;
  }
  if (text == "scalar") return shape;
  for (std::int64_t total = 1;;) {
    const auto cross = text.find('x');
    std::int64_t extent = 0;
    if (!detail::read_number(text.substr(0, cross), extent) || extent < 1 || extent > INT32_MAX / total) {
      return std::nullopt;
    }
    total *= extent;
    shape.size.push_back(extent);
    if (cross == std::string_view::npos) return shape;
    text = text.substr(cross + 1);
  }
}

/// A value that `sample_shape` reads, its element type one of a list.
[[nodiscard]] inline Check sample_shape_check(std::vector<std::string> dtypes) {
  return [check_dtype = one_of(std::move(dtypes))](const std::string& text) -> std::string {
    const auto shape = sample_shape(text);
    if (shape) return check_dtype(shape->dtype);
    return detail::in_quotes(text) + " is not the shape of a sample, such as 512, 128x64 or 128:int64";
  };
}

}  // namespace skep::inline v0::cli
