// JSON log lines: one object a line on standard error, for programs that read logs.
#pragma once

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "skep/cli/console.hpp"
#include "skep/core/log.hpp"

namespace skep::inline v0::cli {

namespace detail {

/// {"time":"2026-11-25T18:40:00.123Z","level":"INFO","component":"dht","message":"..."}; no component for the command's
/// own lines.
[[nodiscard]] inline std::string json_line(std::chrono::system_clock::time_point now, LogLevel level,
                                           std::string_view component, std::string_view message) {
  const auto since = std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count();
  const auto seconds = static_cast<std::time_t>(since / 1000);
  std::tm utc{};
  ::gmtime_r(&seconds, &utc);
  char date[32];
  char time[64];
  std::strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &utc);
  std::snprintf(time, sizeof time, "%s.%03dZ", date, static_cast<int>(since % 1000));
  constexpr const char* levels[] = {"DEBUG", "INFO", "WARN", "ERROR"};
  nlohmann::ordered_json line{{"time", time}, {"level", levels[static_cast<int>(level)]}};
  if (!component.empty()) line["component"] = component;
  while (message.ends_with(' ')) message.remove_suffix(1);
  line["message"] = message;
  return line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

[[nodiscard]] inline LogLevel least_level() noexcept {
  const char* const wanted = std::getenv("SKEP_LOGLEVEL");
  switch (level_named(wanted == nullptr ? "INFO" : wanted).value_or(spdlog::level::info)) {
    case spdlog::level::debug: return LogLevel::debug;
    case spdlog::level::warn: return LogLevel::warning;
    case spdlog::level::err: return LogLevel::error;
    default: return LogLevel::info;
  }
}

}  // namespace detail

/// The hook of `start_json_log`; any thread.
inline void print_json_line(LogLevel level, std::string_view component, std::string_view message) noexcept try {
  static const LogLevel least = detail::least_level();
  if (level < least) return;
  const auto line = detail::json_line(std::chrono::system_clock::now(), level, component, message) + "\n";
  std::fwrite(line.data(), 1, line.size(), stderr);
} catch (...) {  // a line that cannot be printed has nowhere to be reported
}

/// Sends log lines to standard error as JSON; `SKEP_LOGLEVEL` is the least level, as for `start_console`.
inline void start_json_log() { set_log_hook(print_json_line); }

}  // namespace skep::inline v0::cli
