#include "skep/cli/command_line.hpp"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
// doctest comes last
#include <doctest/doctest.h>

using namespace skep::cli;

namespace {

struct Flags {
  std::optional<int> number;
  std::string name = "adam";
  std::vector<std::string> peers;
  bool quiet = false;
};

Parsed<Flags> parse(std::vector<std::string> arguments, const std::string& unasked = {}) {
  Flags flags;
  CommandLine line("tool", "Does something.", {}, unasked);
  line.value("First", "--num_experts", "N", flags.number, whole_number(1), "a number");
  line.value("First", "--optimizer", "NAME", flags.name, one_of({"adam", "sgd"}), "a name");
  line.list("Second", "--initial_peers", "MADDR", flags.peers, {}, "some peers");
  line.toggle("Second", "--quiet", flags.quiet, "say less");
  return line.parse<Flags>(std::move(arguments), flags, [&flags] {
    if (flags.name == "sgd" && flags.quiet) throw UsageError{"--quiet: not with sgd"};
  });
}

std::string refusal(std::vector<std::string> arguments) {
  const auto parsed = parse(std::move(arguments));
  CHECK_FALSE(parsed.flags);
  CHECK(parsed.exit_code == exit_usage);
  CHECK(parsed.text.find('\n') == std::string::npos);
  return parsed.text;
}

/// A file that is gone with the test.
struct TemporaryFile {
  explicit TemporaryFile(const std::string& text) {
    const int descriptor = ::mkstemp(path.data());
    REQUIRE(descriptor >= 0);
    REQUIRE(::write(descriptor, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
    ::close(descriptor);
  }
  ~TemporaryFile() { ::unlink(path.c_str()); }
  std::string path = "/tmp/skep-flags-XXXXXX";
};

}  // namespace

TEST_CASE("nothing given: the defaults") {
  const auto parsed = parse({});
  REQUIRE(parsed.flags);
  CHECK_FALSE(parsed.flags->number);
  CHECK(parsed.flags->name == "adam");
  CHECK(parsed.flags->peers.empty());
}

TEST_CASE("values, with and without an equals sign, lists of any length, switches") {
  const auto parsed = parse({"--num_experts=3", "--initial_peers", "a", "b", "--optimizer", "sgd"});
  REQUIRE(parsed.flags);
  CHECK(parsed.flags->number == 3);
  CHECK(parsed.flags->name == "sgd");
  CHECK(parsed.flags->peers == std::vector<std::string>{"a", "b"});
  const auto empty = parse({"--initial_peers", "--quiet"});
  REQUIRE(empty.flags);
  CHECK(empty.flags->peers.empty());
  CHECK(empty.flags->quiet);
}

TEST_CASE("a flag given twice: the last one holds; a negative number is a value, not a flag") {
  const auto parsed = parse({"--num_experts", "3", "--num_experts", "4"});
  REQUIRE(parsed.flags);
  CHECK(parsed.flags->number == 4);
  CHECK(refusal({"--num_experts", "-1"}) == "tool: --num_experts: \"-1\" is not a whole number of 1 or more");
  CHECK(refusal({"--num_experts="}).starts_with("tool: --num_experts: "));
}

TEST_CASE("the help is no error, grouped, with defaults") {
  const auto parsed = parse({"--num_experts", "3", "--help"});
  CHECK_FALSE(parsed.flags);
  CHECK(parsed.exit_code == exit_ok);
  CHECK(parsed.text.find("First:") < parsed.text.find("--num_experts N"));
  CHECK(parsed.text.find("--num_experts N") < parsed.text.find("Second:"));
  CHECK(parsed.text.find("a name (default: adam)") != std::string::npos);
  for (const char* wrong : {"--frobnicate", "--num_experts=many", "-c/nonexistent/file"}) {
    CHECK(parse({wrong, "-h"}).text == parsed.text);
  }
}

TEST_CASE("a switch may be given a value: true or false in the usual words, and nothing else") {
  for (const char* on : {"--quiet", "--quiet=true", "--quiet=Yes", "--quiet=on", "--quiet=1"}) {
    const auto parsed = parse({on});
    REQUIRE(parsed.flags);
    CHECK(parsed.flags->quiet);
  }
  for (const char* off : {"--quiet=false", "--quiet=NO", "--quiet=off", "--quiet=0"}) {
    const auto parsed = parse({off});
    REQUIRE(parsed.flags);
    CHECK_FALSE(parsed.flags->quiet);
  }
  CHECK(refusal({"--quiet=maybe"}) == "tool: --quiet: \"maybe\" is neither true nor false");
}

TEST_CASE("every mistake is one line that names the flag, with exit code 2") {
  CHECK(refusal({"--num_experts", "none"}) == "tool: --num_experts: \"none\" is not a whole number of 1 or more");
  CHECK(refusal({"--num_experts"}).starts_with("tool: --num_experts: a value is missing"));
  CHECK(refusal({"--num_expert", "3"}) ==
        "tool: there is no flag --num_expert; did you mean --num_experts? See tool --help");
  CHECK(refusal({"--frobnicate"}) == "tool: there is no flag --frobnicate; see tool --help");
  CHECK(refusal({"stray"}) == "tool: there is no flag stray; see tool --help");
  CHECK(refusal({"--optimizer", "sgd", "--quiet"}) == "tool: --quiet: not with sgd");
}

TEST_CASE("D1 a configuration file fills in what the command line leaves out") {
  const TemporaryFile file("num_experts: 7\noptimizer = sgd\ninitial_peers = [x, y]\nquiet: false\n");
  const auto parsed = parse({"--config", file.path, "--num_experts", "2"});
  REQUIRE(parsed.flags);
  CHECK(parsed.flags->number == 2);
  CHECK(parsed.flags->name == "sgd");
  CHECK(parsed.flags->peers == std::vector<std::string>{"x", "y"});
  CHECK_FALSE(parsed.flags->quiet);
  const TemporaryFile quiet("quiet: True");
  for (const auto& arguments :
       {std::vector<std::string>{"-c", quiet.path}, {"-c" + quiet.path}, {"-c=" + quiet.path}}) {
    const auto shut = parse(arguments);
    REQUIRE(shut.flags);
    CHECK(shut.flags->quiet);
  }
  const auto loud = parse({"-c", quiet.path, "--quiet=no"});
  REQUIRE(loud.flags);
  CHECK_FALSE(loud.flags->quiet);
}

TEST_CASE(
    "D1 a command may have a file in the working directory that it reads unasked, another that is named instead") {
  const TemporaryFile folder("");
  const auto before = std::filesystem::current_path();
  const auto there = folder.path + ".d";
  std::filesystem::create_directory(there);
  std::ofstream(there + "/config.yml") << "num_experts: 7\n";
  std::ofstream(there + "/other.yml") << "optimizer: sgd\n";
  std::filesystem::current_path(there);
  const auto found = parse({}, "config.yml");
  const auto named = parse({"-c", "other.yml"}, "config.yml");
  const auto foreign = parse({});
  std::filesystem::current_path(before);
  std::filesystem::remove_all(there);
  REQUIRE(found.flags);
  CHECK(found.flags->number == 7);
  REQUIRE(foreign.flags);
  CHECK_FALSE(foreign.flags->number);
  REQUIRE(named.flags);
  CHECK_FALSE(named.flags->number);
  CHECK(named.flags->name == "sgd");
}

TEST_CASE("D1 a configuration file that cannot be used says so") {
  CHECK(refusal({"-c", "/nonexistent/file"}) == "tool: --config: cannot read \"/nonexistent/file\"");
  const TemporaryFile unknown("optimiser = sgd\n");
  CHECK(refusal({"--config=" + unknown.path}).find("did you mean --optimizer?") != std::string::npos);
  const TemporaryFile wrong("num_experts = many\n");
  CHECK(refusal({"-c", wrong.path}) == "tool: --num_experts: \"many\" is not a whole number of 1 or more");
  for (const char* text : {"quiet: sometimes\n", "quiet:\n", "quiet: []\n"}) {
    const TemporaryFile neither(text);
    CHECK(refusal({"-c", neither.path}).starts_with("tool: --quiet: "));
  }
  CHECK(refusal({"--quiet", "-c"}) == "tool: --config: a value is missing");
  const TemporaryFile broken("num_experts\n");
  CHECK(refusal({"-c", broken.path}).find(", line 1: \"num_experts\" is not of the form") != std::string::npos);
}
