// Checks of single values on a command line: each gives a sentence about what is wrong, or nothing.
#pragma once

#include <algorithm>
#include <cctype>
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

/// What is wrong with a text that is no number from `least` on; one that is too large learns how far it may go.
[[nodiscard]] inline std::string wrong_number(const std::string& text, const std::string& least, double most,
                                              const std::string& most_in_words) {
  double value = 0;
  if (read_number(text, value) && value > most) return in_quotes(text) + " is more than " + most_in_words;
  return in_quotes(text) + " is not a " + least;
}

}  // namespace detail

/// A whole number between `least` and 2^31 - 1.
[[nodiscard]] inline Check whole_number(std::int64_t least) {
  return [least](const std::string& text) -> std::string {
    std::int64_t value = 0;
    if (detail::read_number(text, value) && value >= least && value <= INT32_MAX) return {};
    return detail::wrong_number(text, "whole number of " + std::to_string(least) + " or more", INT32_MAX, "2147483647");
  };
}

/// A number above zero, such as seconds; up to 1e9.
[[nodiscard]] inline Check positive_number() {
  return [](const std::string& text) -> std::string {
    double value = 0;
    if (detail::read_number(text, value) && value > 0 && value <= 1e9) return {};
    return detail::wrong_number(text, "number above 0", 1e9, "1000000000");
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

/// true, yes, on, 1 or false, no, off, 0, in any case.
[[nodiscard]] inline Check truth_value() {
  return [](std::string text) -> std::string {
    const auto given = text;
    for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    for (const char* word : {"true", "yes", "on", "1", "false", "no", "off", "0"}) {
      if (text == word) return {};
    }
    return detail::in_quotes(given) + " is neither true nor false";
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
