// How a command ends: with a code, and with one line when it failed.
#pragma once

#include <algorithm>
#include <cstdio>
#include <exception>
#include <string>
#include <system_error>

#include "skep/cli/command_line.hpp"
#include "skep/core/error.hpp"

namespace skep::inline v0::cli {

namespace detail {

/// A failure as one line without the library's name, which the command's own replaces.
[[nodiscard]] inline std::string failure_line(const std::string& command, const std::exception& error) {
  std::string sentence = error.what();
  sentence.resize(std::min(sentence.size(), sentence.find("\nException raised from")));  // LibTorch's stack
  for (auto at = sentence.find("skep: "); at != std::string::npos; at = sentence.find("skep: ")) sentence.erase(at, 6);
  std::replace(sentence.begin(), sentence.end(), '\n', ' ');
  return command + ": " + sentence;
}

}  // namespace detail

/// Runs the work of a command; what it throws becomes one line on standard error: "skep-dht: who, what, what to do".
/// @return the code for `main` to end with: that of `work`, or exit_usage when the value of a flag was the reason, or
///         exit_failure
template <class Work>
[[nodiscard]] int run_command(const std::string& command, Work work) noexcept try {
  try {
    return work();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", detail::failure_line(command, error).c_str());
    const auto* coded = dynamic_cast<const std::system_error*>(&error);
    return coded != nullptr && coded->code() == errc::invalid_argument ? exit_usage : exit_failure;
  }
} catch (...) {
  std::fprintf(stderr, "an exception of unknown type\n");
  return exit_failure;
}

}  // namespace skep::inline v0::cli
