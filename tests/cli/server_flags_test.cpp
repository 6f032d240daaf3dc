#include "skep/cli/server_flags.hpp"

#include <doctest/doctest.h>

using namespace skep::cli;

namespace {

Parsed<ServerFlags> parse(std::vector<std::string> arguments) {
  return parse_server_flags("skep-server", {"ffn", "nop"}, std::move(arguments));
}

std::string refusal(std::vector<std::string> arguments) {
  const auto parsed = parse(std::move(arguments));
  CHECK_FALSE(parsed.flags);
  CHECK(parsed.exit_code == exit_usage);
  CHECK(parsed.text.find('\n') == std::string::npos);
  CHECK(parsed.text.starts_with("skep-server: "));
  return parsed.text;
}

}  // namespace

TEST_CASE("D1 the defaults are those of hivemind-server") {
  const auto parsed = parse({"--num_experts", "4"});
  REQUIRE(parsed.flags);
  const auto& flags = *parsed.flags;
  CHECK(flags.num_experts == 4);
  CHECK(flags.expert_pattern.empty());
  CHECK(flags.expert_cls == "ffn");
  CHECK(flags.hidden_dim == 1024);
  CHECK(flags.network.host_maddrs == std::vector<std::string>{"/ip4/0.0.0.0/tcp/0"});
  CHECK(flags.min_batch_size == 1);
  CHECK(flags.max_batch_size == 16384);
  CHECK(flags.optimizer == "adam");
  CHECK(flags.update_period == 30);
  CHECK_FALSE(flags.expiration);
  CHECK_FALSE(flags.learning_rate);
  CHECK_FALSE(flags.stats_report_interval);
  CHECK(flags.compression == "NONE");
  CHECK(notes(flags).empty());
}

TEST_CASE("D1 the flags that serving needs") {
  const auto parsed = parse({"--num_experts",
                             "4",
                             "--expert_pattern",
                             "ffn.[0:4].[0:4]",
                             "--expert_cls",
                             "nop",
                             "--hidden_dim",
                             "64",
                             "--min_batch_size",
                             "2",
                             "--max_batch_size",
                             "256",
                             "--optimizer",
                             "sgd",
                             "--learning_rate",
                             "0.1",
                             "--update_period",
                             "5",
                             "--expiration",
                             "15",
                             "--stats_report_interval",
                             "10",
                             "--threads",
                             "1",
                             "--num_handlers",
                             "4",
                             "--increase_file_limit",
                             "--identity_path",
                             "key"});
  REQUIRE(parsed.flags);
  const auto& flags = *parsed.flags;
  CHECK(flags.expert_pattern == "ffn.[0:4].[0:4]");
  CHECK(flags.learning_rate == 0.1);
  CHECK(flags.threads == 1);
  CHECK(flags.increase_file_limit);
  REQUIRE(notes(flags).size() == 1);
  CHECK(notes(flags)[0].starts_with("--num_handlers: "));
  const auto named = parse({"--expert_uids", "ffn.0", "ffn.1"});
  REQUIRE(named.flags);
  CHECK(named.flags->expert_uids == std::vector<std::string>{"ffn.0", "ffn.1"});
}

TEST_CASE("C1.6 which experts to serve must be said, and once") {
  CHECK(refusal({}).find("--num_experts N") != std::string::npos);
  CHECK(refusal({"--expert_pattern", "ffn.[0:4]"}).find("--num_experts N") != std::string::npos);
  CHECK(refusal({"--expert_uids", "a.0", "--num_experts", "1"}).find("leave out") != std::string::npos);
  CHECK(refusal({"--num_experts", "1", "--expert_cls", "lstm"}) ==
        "skep-server: --expert_cls: \"lstm\" is not one of ffn, nop");
}

TEST_CASE("an expert uid that breaks the rules is refused") {
  CHECK(refusal({"--expert_uids", "ffn.0", "ffn"})
            .starts_with("skep-server: --expert_uids: \"ffn\" is not an expert uid"));
}

TEST_CASE("C1.14 a pattern that is none, or has too few places, is refused") {
  CHECK(refusal({"--num_experts", "1", "--expert_pattern", "ffn.[0:4"}) ==
        "skep-server: --expert_pattern: \"ffn.[0:4\" is not an expert pattern: its block \"[0:4\" is neither a fixed "
        "part "
        "nor a range [from:to]");
  CHECK(refusal({"--num_experts", "5", "--expert_pattern", "ffn.[0:2].[0:2]"}) ==
        "skep-server: --num_experts: 5 experts do not fit into the pattern \"ffn.[0:2].[0:2]\", which has 4 uids");
}

TEST_CASE("flags that contradict each other are refused") {
  CHECK(refusal({"--num_experts", "1", "--min_batch_size", "8", "--max_batch_size", "4"}).find("--max_batch_size") !=
        std::string::npos);
  CHECK(refusal({"--num_experts", "1", "--optimizer", "none", "--learning_rate", "1"}).find("do not learn") !=
        std::string::npos);
  CHECK(refusal({"--num_experts", "1", "--expiration", "10"}).find("expire before") != std::string::npos);
  CHECK(refusal({"--num_experts", "1", "--custom_module_path", "x.py"}).find("server_main") != std::string::npos);
}

TEST_CASE("the help names every flag in its group") {
  const auto text = parse({"--help"}).text;
  for (const char* flag : {"--num_experts",
                           "--expert_pattern",
                           "--expert_uids",
                           "--expert_cls",
                           "--hidden_dim",
                           "--host_maddrs",
                           "--announce_maddrs",
                           "--no_relay",
                           "--use_auto_relay",
                           "--num_handlers",
                           "--min_batch_size",
                           "--max_batch_size",
                           "--device",
                           "--optimizer",
                           "--update_period",
                           "--expiration",
                           "--initial_peers",
                           "--increase_file_limit",
                           "--compression",
                           "--stats_report_interval",
                           "--custom_module_path",
                           "--identity_path",
                           "--threads",
                           "--config",
                           "Experts:",
                           "Network:",
                           "Compute:",
                           "Training:",
                           "Swarm:"}) {
    CAPTURE(flag);
    CHECK(text.find(flag) != std::string::npos);
  }
  for (std::size_t at = 0; at < text.size();) {
    const auto end = std::min(text.find('\n', at), text.size());
    CHECK(end - at <= 140);
    at = end + 1;
  }
}
