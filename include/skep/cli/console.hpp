// Console: the library's log lines on standard error, in Hivemind's format.
#pragma once

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "skep/core/error.hpp"
#include "skep/core/log.hpp"

namespace skep::inline v0::cli {

namespace detail {

/// "[INFO] ", and for every other level also who speaks: "[WARN] [p2p.host] ".
class LevelAndComponent final : public spdlog::custom_flag_formatter {
 public:
  explicit LevelAndComponent(bool always_component) : always_component_(always_component) {}

  void format(const spdlog::details::log_msg& line, const std::tm&, spdlog::memory_buf_t& out) override {
    const bool component = (always_component_ || line.level != spdlog::level::info) && line.logger_name.size() != 0;
    put(out, "[", name(line.level), component ? "] [" : "]");
    if (component) put(out, std::string_view(line.logger_name.data(), line.logger_name.size()), "]");
  }
  [[nodiscard]] std::unique_ptr<custom_flag_formatter> clone() const override {
    return std::make_unique<LevelAndComponent>(always_component_);
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

  bool always_component_;
};

[[nodiscard]] inline std::unique_ptr<spdlog::formatter> console_format(bool always_component = false) {
  auto format = std::make_unique<spdlog::pattern_formatter>();
  format->add_flag<LevelAndComponent>('*', always_component).set_pattern("%b %d %H:%M:%S.%e %^%*%$ %v");
  return format;
}

/// The level that Hivemind calls by this name.
[[nodiscard]] inline std::optional<spdlog::level::level_enum> level_named(std::string_view name) noexcept {
  if (name == "DEBUG") return spdlog::level::debug;
  if (name == "INFO") return spdlog::level::info;
  if (name == "WARN" || name == "WARNING") return spdlog::level::warn;
  if (name == "ERROR" || name == "CRITICAL") return spdlog::level::err;
  return std::nullopt;
}

/// Whether an environment variable says yes as Hivemind takes it; nullopt when it is not set.
[[nodiscard]] inline std::optional<bool> switched_on(const char* value) noexcept {
  if (value == nullptr) return std::nullopt;
  std::string text = value;
  for (char& c : text) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  return text == "1" || text == "TRUE";
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

/// Sends the library's log lines to standard error, as the environment wants them: `SKEP_LOGLEVEL` (DEBUG, INFO, WARN,
/// ERROR) is the least level, `SKEP_COLORS` (1 or 0) colours them or not whether standard error is a terminal or not,
/// `SKEP_ALWAYS_LOG_CALLER=1` says also in INFO lines which part of the program speaks.
inline void start_console() {
  auto& sink = detail::console_sink();
  sink.set_formatter(
      detail::console_format(detail::switched_on(std::getenv("SKEP_ALWAYS_LOG_CALLER")).value_or(false)));
  for (const auto& [level, colour] :
       {std::pair(spdlog::level::debug, "\033[1m\033[35m"), std::pair(spdlog::level::info, "\033[1m\033[34m"),
        std::pair(spdlog::level::warn, "\033[1m\033[38;5;208m"), std::pair(spdlog::level::err, "\033[1m\033[31m")}) {
    sink.set_color(level, colour);
  }
  if (const auto colours = detail::switched_on(std::getenv("SKEP_COLORS"))) {
    sink.set_color_mode(*colours ? spdlog::color_mode::always : spdlog::color_mode::never);
  }
  const char* const wanted = std::getenv("SKEP_LOGLEVEL");
  const auto level = detail::level_named(wanted == nullptr ? "INFO" : wanted);
  sink.set_level(level.value_or(spdlog::level::info));
  set_log_hook(print_line);
  if (level) return;
  log(LogLevel::warning, "console",
      "SKEP_LOGLEVEL: \"" + printable(wanted) + "\" is not one of DEBUG, INFO, WARN, ERROR; INFO it is");
}

/// A line of the command's own.
inline void info(const std::string& message) { log(LogLevel::info, "", message); }

}  // namespace skep::inline v0::cli
