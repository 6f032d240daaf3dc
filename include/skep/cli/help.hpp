// The help of a command: flags in one column, what they do in another, no line longer than the terminal is wide.
#pragma once

#include <sys/ioctl.h>
#include <unistd.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>

namespace skep::inline v0::cli {

/// One entry: the flag, then from `column` on its text, broken at blanks before `width`. A flag that reaches into the
/// column has a line of its own.
[[nodiscard]] inline std::string help_entry(const std::string& flag, std::string_view text, std::size_t column,
                                            std::size_t width) {
  std::string out = "  " + flag;
  std::size_t at = out.size();
  if (at + 2 > column) {
    out += '\n';
    at = 0;
  }
  out.append(column - at, ' ');
  at = column;
  while (!text.empty()) {
    const auto word = text.substr(0, text.find(' '));
    text.remove_prefix(std::min(word.size() + 1, text.size()));
    if (at > column && at + 1 + word.size() > width) {
      out.append("\n").append(column, ' ');
      at = column;
    } else if (at > column) {
      out += ' ';
      ++at;
    }
    out += word;
    at += word.size();
  }
  return out + '\n';
}

/// Where lines of help end: at the terminal's edge, within reason; 100 where standard output is none.
[[nodiscard]] inline std::size_t help_width() noexcept {
  winsize size{};
  if (::isatty(STDOUT_FILENO) == 0 || ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 100;
  return std::clamp<std::size_t>(size.ws_col, 60, 110);
}

/// CLI11's help with such entries.
class HelpFormatter final : public CLI::Formatter {
 public:
  static constexpr std::size_t column = 34;

  [[nodiscard]] std::string make_option(const CLI::Option* option, bool is_positional) const override {
    return help_entry(make_option_name(option, is_positional) + make_option_opts(option), make_option_desc(option),
                      column, help_width());
  }
};

}  // namespace skep::inline v0::cli
