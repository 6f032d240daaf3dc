#include "skep/cli/console.hpp"

#include <doctest/doctest.h>

#include <regex>
#include <string>

using namespace skep;

namespace {
std::string formatted(spdlog::level::level_enum level, const char* component, const char* text, bool always = false) {
  spdlog::memory_buf_t out;
  cli::detail::console_format(always)->format({component, level, text}, out);
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

TEST_CASE("D3 D4 with SKEP_ALWAYS_LOG_CALLER the component stands in INFO lines too") {
  CHECK(formatted(spdlog::level::info, "moe", "Started", true).ends_with("[INFO] [moe] Started\n"));
  CHECK(formatted(spdlog::level::info, "", "Started", true).ends_with("[INFO] Started\n"));
}

TEST_CASE("D4 levels by their names") {
  CHECK(cli::detail::level_named("DEBUG") == spdlog::level::debug);
  CHECK(cli::detail::level_named("INFO") == spdlog::level::info);
  CHECK(cli::detail::level_named("WARN") == spdlog::level::warn);
  CHECK(cli::detail::level_named("WARNING") == spdlog::level::warn);
  CHECK(cli::detail::level_named("ERROR") == spdlog::level::err);
  CHECK_FALSE(cli::detail::level_named("what"));
  CHECK_FALSE(cli::detail::level_named(""));
}

TEST_CASE("D4 switches are on by 1 and true, as in Hivemind") {
  CHECK_FALSE(cli::detail::switched_on(nullptr));
  for (const char* yes : {"1", "true", "TRUE", "True"}) CHECK(cli::detail::switched_on(yes) == true);
  for (const char* no : {"0", "", "no", "yes", "false"}) CHECK(cli::detail::switched_on(no) == false);
}
