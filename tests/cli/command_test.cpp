#include "skep/cli/command.hpp"

#include <stdexcept>
// doctest comes last
#include <doctest/doctest.h>

using namespace skep;
using namespace skep::cli;

TEST_CASE("a failure is one line that begins with the command's name") {
  const auto line = [](const std::exception& error) { return cli::detail::failure_line("skep-x", error); };
  CHECK(line(Error(errc::closed, "the DHT is closed")) == "skep-x: the DHT is closed");
  CHECK(line(Error(errc::closed, "no luck (skep: inside)")) == "skep-x: no luck (inside)");
  CHECK(line(std::runtime_error("two\nlines")) == "skep-x: two lines");
  CHECK(line(std::runtime_error("wrong shape\nException raised from here (most recent call first):\nframe #0")) ==
        "skep-x: wrong shape");
}

TEST_CASE("codes: the work's own, 2 for a flag's value, 1 for everything else") {
  CHECK(run_command("skep-x", [] { return 0; }) == 0);
  CHECK(run_command("skep-x", []() -> int { throw Error(errc::invalid_argument, "a bad value"); }) == exit_usage);
  CHECK(run_command("skep-x", []() -> int { throw Error(errc::unreachable, "nobody there"); }) == exit_failure);
  CHECK(run_command("skep-x", []() -> int { throw std::runtime_error("broken"); }) == exit_failure);
  CHECK(run_command("skep-x", []() -> int { throw 7; }) == exit_failure);
}
