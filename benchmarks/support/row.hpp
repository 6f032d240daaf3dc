// What a benchmark prints: the machine it ran on, then one row a figure that says whether its goal holds.
#pragma once

#include <array>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>

#include "pin.hpp"

namespace skep::bench {

/// A time in the unit that reads best.
[[nodiscard]] inline std::string time_text(double microseconds) {
  std::array<char, 32> text{};
  if (microseconds < 1000) {
    std::snprintf(text.data(), text.size(), microseconds < 100 ? "%.2f us" : "%.0f us", microseconds);
  } else if (microseconds < 1e6) {
    std::snprintf(text.data(), text.size(), microseconds < 1e5 ? "%.2f ms" : "%.0f ms", microseconds / 1e3);
  } else {
    std::snprintf(text.data(), text.size(), "%.2f s", microseconds / 1e6);
  }
  return text.data();
}

enum class Goal { at_most, at_least };

/// One figure. `ratio` compares `skep` with `limit`, or with whatever the goal is about; texts carry their units.
struct Row {
  std::string name;
  std::string skep;
  std::string peer = "-";   ///< what another implementation reached in the same run
  std::string limit = "-";  ///< what the machine allows, measured in the same run
  double ratio = 0;
  Goal direction = Goal::at_most;
  double goal = 0;

  [[nodiscard]] bool holds() const { return direction == Goal::at_most ? ratio <= goal : ratio >= goal; }
};

/// Prints rows under one heading, each as soon as it is known.
class Table {
 public:
  Table() {
    std::printf("%s\n", machine().c_str());
    std::printf("%-34s %16s %12s %12s %7s %9s\n", "name", "skep p50", "peer", "limit", "ratio", "goal");
    std::fflush(stdout);
  }

  void print(const Row& row) {
    std::printf("%-34s %16s %12s %12s %7.2f %s%6.2f  %s\n", row.name.c_str(), row.skep.c_str(), row.peer.c_str(),
                row.limit.c_str(), row.ratio, row.direction == Goal::at_most ? "<= " : ">= ", row.goal,
                row.holds() ? "holds" : "short");
    std::fflush(stdout);
  }

  /// The processor, how many cores may be used, and those of its features that the ciphers and codecs have code for.
  [[nodiscard]] static std::string machine() {
    std::ifstream info("/proc/cpuinfo");
    std::string model = "processor unknown";
    std::string flags;
    for (std::string line; std::getline(info, line);) {
      const auto value = line.find(": ");
      if (value == std::string::npos) continue;
      if (line.starts_with("model name")) model = line.substr(value + 2);
      if (line.starts_with("flags")) flags = line.substr(value + 2);
    }
    constexpr std::array<std::string_view, 9> features{"avx",    "avx2", "f16c",    "bmi2",      "adx",
                                                       "sha_ni", "vaes", "avx512f", "avx512ifma"};
    std::string present;
    std::istringstream words(flags);
    for (std::string word; words >> word;) {
      for (const std::string_view feature : features) {
        if (word == feature) present += ' ' + word;
      }
    }
    return model + ", " + std::to_string(allowed_cores().size()) + " cores," + (present.empty() ? " ?" : present);
  }
};

}  // namespace skep::bench
