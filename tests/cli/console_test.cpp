#include "skep/cli/console.hpp"

#include <doctest/doctest.h>

#include <regex>
#include <string>

using namespace skep;

namespace {
std::string formatted(spdlog::level::level_enum level, const char* component, const char* text) {
  spdlog::memory_buf_t out;
  cli::detail::console_format()->format({component, level, text}, out);
  return {out.data(), out.size()};
}
}  // namespace

TEST_CASE("D3 lines have Hivemind's format, the component only beside other levels than INFO") {
  const std::string stamp = "[A-Z][a-z]{2} \\d{2} \\d{2}:\\d{2}:\\d{2}\\.\\d{3} ";
  CHECK(std::regex_match(formatted(spdlog::level::info, "moe", "Started"), std::regex(stamp + "\\[INFO\\] Started\n")));
  CHECK(std::regex_match(formatted(spdlog::level::warn, "p2p.host", "careful"),
                         std::regex(stamp + "\\[WARN\\] \\[p2p\\.host\\] careful\n")));
  CHECK(std::regex_match(formatted(spdlog::level::err, "", "broken"), std::regex(stamp + "\\[ERROR\\] broken\n")));
}

TEST_CASE("D4 levels by their names") {
  CHECK(cli::detail::level_named("DEBUG") == spdlog::level::debug);
  CHECK(cli::detail::level_named("WARNING") == spdlog::level::warn);
  CHECK(cli::detail::level_named("ERROR") == spdlog::level::err);
  CHECK(cli::detail::level_named("what") == spdlog::level::info);
  CHECK(cli::detail::level_named(nullptr) == spdlog::level::info);
}
