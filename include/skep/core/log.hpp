// The log hook: the library says what happens through one function pointer and prints nothing by itself.
#pragma once

#include <atomic>
#include <string_view>

namespace skep::inline v0 {

enum class LogLevel { debug, info, warning, error };

/// Receives a finished line from any thread; must not throw, must not call back into the library.
using LogHook = void (*)(LogLevel level, std::string_view component, std::string_view message) noexcept;

namespace detail {
inline std::atomic<LogHook> log_hook{nullptr};
}

/// Installs the hook for the whole process; null (the default) silences the library. Any thread.
inline void set_log_hook(LogHook hook) noexcept { detail::log_hook.store(hook, std::memory_order_release); }

[[nodiscard]] inline bool logging() noexcept { return detail::log_hook.load(std::memory_order_acquire) != nullptr; }

/// Hands a line to the hook. Never call it while holding a lock.
inline void log(LogLevel level, std::string_view component, std::string_view message) noexcept {
  if (const LogHook hook = detail::log_hook.load(std::memory_order_acquire)) hook(level, component, message);
}

}  // namespace skep::inline v0
