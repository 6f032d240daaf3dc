// Checks of single values on a command line: each gives a sentence about what is wrong, or nothing.
#pragma once

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace skep::inline v0::cli {

/// Looks at a value as it was written; an empty answer means that it will do.
using Check = std::function<std::string(const std::string&)>;

namespace detail {

[[nodiscard]] inline std::string in_quotes(std::string_view text) { return '"' + std::string(text) + '"'; }

/// The whole text as a number of the given type.
template <class T>
[[nodiscard]] bool read_number(std::string_view text, T& value) noexcept {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return !text.empty() && error == std::errc{} && end == text.data() + text.size();
}

}  // namespace detail

/// A whole number between `least` and 2^31 - 1.
[[nodiscard]] inline Check whole_number(std::int64_t least) {
  return [least](const std::string& text) -> std::string {
    std::int64_t value = 0;
    if (detail::read_number(text, value) && value >= least && value <= INT32_MAX) return {};
    return detail::in_quotes(text) + " is not a whole number of " + std::to_string(least) + " or more";
  };
}

/// A number above zero, such as seconds; up to 1e9.
[[nodiscard]] inline Check positive_number() {
  return [](const std::string& text) -> std::string {
    double value = 0;
    if (detail::read_number(text, value) && value > 0 && value <= 1e9) return {};
    return detail::in_quotes(text) + " is not a number above 0";
  };
}

/// One of a few words.
[[nodiscard]] inline Check one_of(std::vector<std::string> words) {
  return [words = std::move(words)](const std::string& text) -> std::string {
    if (std::find(words.begin(), words.end(), text) != words.end()) return {};
    std::string sentence = detail::in_quotes(text) + " is not one of";
    for (std::size_t i = 0; i < words.size(); ++i) sentence += (i == 0 ? " " : ", ") + words[i];
    return sentence;
  };
}

/// A folder that exists.
[[nodiscard]] inline Check existing_folder() {
  return [](const std::string& text) -> std::string {
    std::error_code ignored;
    if (std::filesystem::is_directory(text, ignored)) return {};
    return "there is no folder " + detail::in_quotes(text) + "; make it first";
  };
}

/// A file that exists and can be read.
[[nodiscard]] inline Check readable_file() {
  return [](const std::string& text) -> std::string {
    std::error_code ignored;
    if (!std::filesystem::is_regular_file(text, ignored)) return "there is no file " + detail::in_quotes(text);
    return std::ifstream(text) ? std::string() : "the file " + detail::in_quotes(text) + " cannot be read";
  };
}

}  // namespace skep::inline v0::cli
