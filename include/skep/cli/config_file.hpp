// Configuration files of the commands: one long flag a line, `key = value`, `key: value` or `key = [a, b]`.
#pragma once

#include <cstddef>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace skep::inline v0::cli {

/// One line of a configuration file.
struct ConfigEntry {
  std::string key;  ///< without the leading dashes
  std::vector<std::string> values;

  friend bool operator==(const ConfigEntry&, const ConfigEntry&) = default;
};

/// The entries of a file, or what is wrong with it in `error`: "line 3: ...".
struct ConfigFile {
  std::vector<ConfigEntry> entries;
  std::string error;
};

namespace detail {

[[nodiscard]] inline std::string_view trimmed(std::string_view text) noexcept {
  constexpr std::string_view blank = " \t\r";
  const auto begin = text.find_first_not_of(blank);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(blank) - begin + 1);
}

/// Takes away one pair of quotes around the whole.
[[nodiscard]] inline std::string unquoted(std::string_view text) {
  text = trimmed(text);
  if (text.size() >= 2 && text.front() == text.back() && (text.front() == '"' || text.front() == '\'')) {
    text = text.substr(1, text.size() - 2);
  }
  return std::string(text);
}

/// Cuts a comment: '#' or ';' at the beginning, or '#' after a blank and outside quotes.
[[nodiscard]] inline std::string_view without_comment(std::string_view line) noexcept {
  char quote = 0;
  for (std::size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (quote != 0) {
      if (c == quote) quote = 0;
    } else if (c == '"' || c == '\'') {
      quote = c;
    } else if ((c == '#' || c == ';') && trimmed(line.substr(0, i)).empty()) {
      return {};
    } else if (c == '#' && (line[i - 1] == ' ' || line[i - 1] == '\t')) {
      return line.substr(0, i);
    }
  }
  return line;
}

}  // namespace detail

/// The file that arguments name as -c FILE, -cFILE, --config FILE or --config=FILE; empty where its name is missing.
[[nodiscard]] inline std::optional<std::string> named_config(std::span<const std::string> arguments) {
  for (auto at = arguments.begin(); at != arguments.end(); ++at) {
    if (*at == "-c" || *at == "--config") return std::next(at) == arguments.end() ? std::string() : *std::next(at);
    for (const std::string_view form : {"--config=", "-c=", "-c"}) {
      if (at->starts_with(form)) return at->substr(form.size());
    }
  }
  return std::nullopt;
}

/// Reads the text of a configuration file. Empty lines, comments, section heads ("[server]") and "---" are passed over;
/// multiaddrs need no quotes. An empty list stands for a flag without values.
[[nodiscard]] inline ConfigFile parse_config(std::string_view text) {
  ConfigFile file;
  for (std::size_t number = 1; !text.empty(); ++number) {
    const auto end = text.find('\n');
    const auto line = detail::trimmed(detail::without_comment(text.substr(0, end)));
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    if (line.empty() || line == "---" || (line.front() == '[' && line.back() == ']')) continue;

    const auto cut = line.find_first_of("=:");
    const auto key = detail::trimmed(line.substr(0, cut));
    const auto dashes = key.find_first_not_of('-');
    if (cut == std::string_view::npos || dashes == std::string_view::npos) {
      file.error = "line " + std::to_string(number) + ": \"" + std::string(line) +
                   "\" is not of the form `flag = value`, such as `hidden_dim = 512`";
      return file;
    }
    ConfigEntry entry{std::string(key.substr(dashes)), {}};
    auto value = detail::trimmed(line.substr(cut + 1));
    if (value.size() >= 2 && value.front() == '[' && value.back() == ']') {
      value = value.substr(1, value.size() - 2);
      while (!detail::trimmed(value).empty()) {
        const auto comma = value.find(',');
        entry.values.push_back(detail::unquoted(value.substr(0, comma)));
        value = comma == std::string_view::npos ? std::string_view() : value.substr(comma + 1);
      }
    } else {
      entry.values.push_back(detail::unquoted(value));
    }
    file.entries.push_back(std::move(entry));
  }
  return file;
}

}  // namespace skep::inline v0::cli
