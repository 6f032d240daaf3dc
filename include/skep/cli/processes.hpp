// How many servers share this machine, and so how many threads each of them should compute with.
#pragma once

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <string>
#include <system_error>

namespace skep::inline v0::cli {

/// How many processes of this program run on the machine, this one included; those of other users are not seen.
[[nodiscard]] inline std::size_t processes_of_this_program() {
  std::error_code error;
  const auto own = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) return 1;
  std::size_t count = 0;
  for (std::filesystem::directory_iterator entry("/proc", error), end; !error && entry != end; entry.increment(error)) {
    const auto name = entry->path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    std::error_code gone;
    if (std::filesystem::read_symlink(entry->path() / "exe", gone) == own && !gone) ++count;
  }
  return std::max<std::size_t>(count, 1);
}

/// The default of --threads: the machine's cores shared among its servers, at least one each.
[[nodiscard]] constexpr std::size_t fair_share(std::size_t cores, std::size_t servers) noexcept {
  return std::max<std::size_t>(1, cores / std::max<std::size_t>(1, servers));
}

}  // namespace skep::inline v0::cli
