#include "skep/cli/help.hpp"

#include <doctest/doctest.h>

#include <string>

using skep::cli::help_entry;

TEST_CASE("an entry of the help: two columns, broken at blanks, words never") {
  CHECK(help_entry("--flag N", "what it does", 12, 40) == "  --flag N  what it does\n");
  CHECK(help_entry("--flag N", "what it does and why", 12, 24) ==
        "  --flag N  what it does\n"
        "            and why\n");
  CHECK(help_entry("--a_long_flag", "what it does", 12, 24) ==
        "  --a_long_flag\n"
        "            what it does\n");
  CHECK(help_entry("--flag", "an_endless_word_that_fits_nowhere x", 12, 24) ==
        "  --flag    an_endless_word_that_fits_nowhere\n"
        "            x\n");
}
