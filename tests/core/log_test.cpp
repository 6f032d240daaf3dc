#include "skep/core/log.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace skep;

namespace {

struct Line {
  LogLevel level;
  std::string component, message;
};

std::vector<Line>& lines() {
  static std::vector<Line> all;
  return all;
}

void remember(LogLevel level, std::string_view component, std::string_view message) noexcept {
  lines().push_back({level, std::string(component), std::string(message)});
}

}  // namespace

TEST_CASE("nobody listens at first, and again after the hook is taken away") {
  CHECK_FALSE(logging());
  log(LogLevel::error, "test", "goes nowhere");

  set_log_hook(remember);
  CHECK(logging());
  log(LogLevel::warning, "p2p", "a line");
  set_log_hook(nullptr);
  CHECK_FALSE(logging());
  log(LogLevel::error, "test", "goes nowhere");

  REQUIRE(lines().size() == 1);
  CHECK(lines()[0].level == LogLevel::warning);
  CHECK(lines()[0].component == "p2p");
  CHECK(lines()[0].message == "a line");
}
