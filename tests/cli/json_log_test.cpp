#include "skep/cli/json_log.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace skep;
using cli::detail::json_line;
using nlohmann::json;

TEST_CASE("a line is one JSON object with time, level, who speaks, and what") {
  const std::chrono::system_clock::time_point time(std::chrono::milliseconds(1'795'632'000'123));
  CHECK(json_line(time, LogLevel::warning, "dht", "slow \"peer\"\n") ==
        R"({"time":"2026-11-25T18:40:00.123Z","level":"WARN","component":"dht","message":"slow \"peer\"\n"})");
  CHECK(json_line(time, LogLevel::info, "", "up ") ==
        R"({"time":"2026-11-25T18:40:00.123Z","level":"INFO","message":"up"})");
  CHECK(json::parse(json_line(time, LogLevel::error, "", "\xff\xfe"))["message"].get<std::string>().size() > 0);
}
