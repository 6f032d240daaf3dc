#include "skep/cli/config_file.hpp"

#include <doctest/doctest.h>

using namespace skep::cli;

TEST_CASE("D1 a configuration file: both separators, lists, quotes, comments") {
  const auto file = parse_config(
      "# a comment\n"
      "; another\n"
      "---\n"
      "[server]\n"
      "\n"
      "num_experts = 4\n"
      "hidden_dim: 512   # the width\n"
      "  --expert_cls = 'ffn'\r\n"
      "expert_uids = [a.0, \"a.1\" , a.2]\n"
      "initial_peers = []\n"
      "expert_pattern = \"a # b\"\n"
      "host_maddrs = /ip4/0.0.0.0/tcp/0\n"
      "no_relay: true");
  CHECK(file.error.empty());
  const std::vector<ConfigEntry> expected{{"num_experts", {"4"}},
                                          {"hidden_dim", {"512"}},
                                          {"expert_cls", {"ffn"}},
                                          {"expert_uids", {"a.0", "a.1", "a.2"}},
                                          {"initial_peers", {}},
                                          {"expert_pattern", {"a # b"}},
                                          {"host_maddrs", {"/ip4/0.0.0.0/tcp/0"}},
                                          {"no_relay", {"true"}}};
  CHECK((file.entries == expected));
}

TEST_CASE("D1 a configuration file is named in any form of its flag") {
  using Arguments = std::vector<std::string>;
  for (const auto& arguments :
       {Arguments{"--quiet", "-c", "my.yml"}, Arguments{"-cmy.yml", "--quiet"}, Arguments{"-c=my.yml"},
        Arguments{"--config", "my.yml"}, Arguments{"--config=my.yml"}}) {
    CHECK(named_config(arguments) == "my.yml");
  }
  CHECK(named_config(Arguments{"--quiet", "-c"}) == "");
  CHECK_FALSE(named_config(Arguments{"--quiet", "c", "--configs"}));
}

TEST_CASE("D1 a pattern may hold colons and brackets") {
  const auto file = parse_config("expert_pattern = ffn.[0:4].[0:4]\nexpert_pattern: ffn.[0:4]\n");
  REQUIRE(file.entries.size() == 2);
  CHECK(file.entries[0].values == std::vector<std::string>{"ffn.[0:4].[0:4]"});
  CHECK(file.entries[1].values == std::vector<std::string>{"ffn.[0:4]"});
}

TEST_CASE("D1 what is no entry is refused with its line") {
  CHECK(parse_config("a = 1\nwhat is this\n").error.starts_with("line 2: \"what is this\" is not of the form"));
  CHECK_FALSE(parse_config(" = 3").error.empty());
  CHECK(parse_config("").entries.empty());
}
