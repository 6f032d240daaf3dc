// Console: the library's log lines on standard error, in Hivemind's format.
#pragma once

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "skep/core/log.hpp"

namespace skep::inline v0::cli {

namespace detail {

/// "[INFO] ", and for every other level also who speaks: "[WARN] [p2p.host] ".
class LevelAndComponent final : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& line, const std::tm&, spdlog::memory_buf_t& out) override {
    const bool component = line.level != spdlog::level::info && line.logger_name.size() != 0;
    put(out, "[", name(line.level), component ? "] [" : "]");
    if (component) put(out, std::string_view(line.logger_name.data(), line.logger_name.size()), "]");
  }
  [[nodiscard]] std::unique_ptr<custom_flag_formatter> clone() const override {
    return std::make_unique<LevelAndComponent>();
  }

 private:
  template <class... Texts>
  static void put(spdlog::memory_buf_t& out, Texts... texts) {
    (..., [&](std::string_view text) { out.append(text.data(), text.data() + text.size()); }(texts));
  }
  [[nodiscard]] static std::string_view name(spdlog::level::level_enum level) noexcept {
    switch (level) {
      case spdlog::level::debug: return "DEBUG";
      case spdlog::level::warn: return "WARN";
      case spdlog::level::err: return "ERROR";
      default: return "INFO";
    }
  }
};

[[nodiscard]] inline std::unique_ptr<spdlog::formatter> console_format() {
  auto format = std::make_unique<spdlog::pattern_formatter>();
  format->add_flag<LevelAndComponent>('*').set_pattern("%b %d %H:%M:%S.%e %^%*%$ %v");
  return format;
}

/// The level named by an environment variable's value as Hivemind spells it; INFO when it is not known.
[[nodiscard]] inline spdlog::level::level_enum level_named(const char* name) noexcept {
  const std::string_view text = name == nullptr ? "" : name;
  if (text == "DEBUG") return spdlog::level::debug;
  if (text == "WARN" || text == "WARNING") return spdlog::level::warn;
  if (text == "ERROR" || text == "CRITICAL") return spdlog::level::err;
  return spdlog::level::info;
}

[[nodiscard]] inline spdlog::sinks::stderr_color_sink_mt& console_sink() {
  static spdlog::sinks::stderr_color_sink_mt sink;
  return sink;
}

}  // namespace detail

/// Prints lines of the given level and above as `Nov 22 15:04:05.123 [INFO] message`. The hook of `start_console`; any
/// thread.
inline void print_line(LogLevel level, std::string_view component, std::string_view message) noexcept try {
  auto& sink = detail::console_sink();
  const auto to = level == LogLevel::debug     ? spdlog::level::debug
                  : level == LogLevel::info    ? spdlog::level::info
                  : level == LogLevel::warning ? spdlog::level::warn
                                               : spdlog::level::err;
  if (!sink.should_log(to)) return;
  sink.log({spdlog::string_view_t(component.data(), component.size()), to,
            spdlog::string_view_t(message.data(), message.size())});
} catch (...) {  // a line that cannot be printed has nowhere to be reported
}

/// Sends the library's log lines to standard error. `SKEP_LOGLEVEL` (DEBUG, INFO, WARN, ERROR) sets the least level,
/// `SKEP_COLORS=1` colours them also where standard error is no terminal.
inline void start_console() {
  auto& sink = detail::console_sink();
  sink.set_formatter(detail::console_format());
  sink.set_level(detail::level_named(std::getenv("SKEP_LOGLEVEL")));
  if (const char* colours = std::getenv("SKEP_COLORS"); colours != nullptr && std::string_view(colours) != "0") {
    sink.set_color_mode(spdlog::color_mode::always);
  }
  set_log_hook(print_line);
}

/// A line of the command's own.
inline void info(const std::string& message) { log(LogLevel::info, "", message); }

}  // namespace skep::inline v0::cli
