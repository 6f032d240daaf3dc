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
  CHECK(flags.scheduler == "none");
  CHECK(flags.device.empty());
  CHECK(flags.checkpoint_dir.empty());
  CHECK(flags.metrics.empty());
  CHECK_FALSE(flags.num_warmup_steps);
  CHECK_FALSE(flags.num_training_steps);
  CHECK_FALSE(flags.clip_grad_norm);
  CHECK_FALSE(flags.accumulate_samples);
  CHECK_FALSE(flags.class_given);
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

TEST_CASE("D1 every flag of the training, of checkpoints, of TorchScript and of reports arrives") {
  const auto trained = parse({"--num_experts",
                              "2",
                              "--optimizer",
                              "lamb",
                              "--scheduler",
                              "linear",
                              "--num_warmup_steps",
                              "0",
                              "--num_training_steps",
                              "100",
                              "--clip_grad_norm",
                              "0.5",
                              "--accumulate_samples",
                              "64",
                              "--checkpoint_dir",
                              "/tmp",
                              "--compression",
                              "BLOCKWISE_8BIT",
                              "--device",
                              "cuda:1",
                              "--metrics",
                              "127.0.0.1:0",
                              "--expert_cls",
                              "nop",
                              "--expert_options",
                              "num_heads=8",
                              "dropout=0.1"});
  REQUIRE(trained.flags);
  CHECK(trained.flags->num_warmup_steps == 0);
  CHECK(trained.flags->num_training_steps == 100);
  CHECK(trained.flags->clip_grad_norm == 0.5);
  CHECK(trained.flags->accumulate_samples == 64);
  CHECK(trained.flags->checkpoint_dir == "/tmp");
  CHECK(trained.flags->compression == "BLOCKWISE_8BIT");
  CHECK(trained.flags->device == "cuda:1");
  CHECK(trained.flags->metrics == "127.0.0.1:0");
  CHECK(trained.flags->class_given);
  CHECK(trained.flags->expert_options == std::vector<std::string>{"num_heads=8", "dropout=0.1"});
  const auto script =
      parse({"--num_experts", "2", "--torchscript", "/proc/self/status", "--torchscript_inputs", "128x64", "128:bool"});
  REQUIRE(script.flags);
  CHECK(script.flags->torchscript == "/proc/self/status");
  CHECK(script.flags->torchscript_inputs == std::vector<std::string>{"128x64", "128:bool"});
}

TEST_CASE("D1 what is wrong with flags, alone and together, is one sentence that begins with the flag") {
  struct Case {
    std::vector<std::string> arguments;
    const char* sentence;
  };
  const Case cases[] = {
      {{"--min_batch_size", "8", "--max_batch_size", "4"},
       "--min_batch_size: 8 is more than --max_batch_size, which is 4"},
      {{"--optimizer", "none", "--learning_rate", "1"},
       "--optimizer: with none the experts do not learn; leave out --learning_rate"},
      {{"--optimizer", "none", "--clip_grad_norm", "1"},
       "--optimizer: with none the experts do not learn; leave out --clip_grad_norm"},
      {{"--optimizer", "lion"}, "--optimizer: \"lion\" is not one of adam, adamw, sgd, lamb, none"},
      {{"--scheduler", "linear"},
       "--scheduler: linear needs to know the steps until it ends: give --num_training_steps"},
      {{"--num_training_steps", "5"}, "--num_training_steps: it goes with --scheduler linear"},
      {{"--scheduler", "linear", "--num_training_steps", "5", "--num_warmup_steps", "6"},
       "--num_warmup_steps: 6 are more than --num_training_steps, which is 5"},
      {{"--clip_grad_norm", "0"}, "--clip_grad_norm: \"0\" is not a number above 0"},
      {{"--accumulate_samples", "0"}, "--accumulate_samples: \"0\" is not a whole number of 1 or more"},
      {{"--expiration", "10"},
       "--expiration: experts would expire before they are declared again; give more than --update_period"},
      {{"--checkpoint_dir", "/nonexistent"}, "--checkpoint_dir: there is no folder \"/nonexistent\"; make it first"},
      {{"--compression", "FLOAT8"},
       "--compression: \"FLOAT8\" is not one of NONE, FLOAT16, MEANSTD_16BIT, UNIFORM_8BIT, QUANTILE_8BIT, "
       "BLOCKWISE_8BIT"},
      {{"--device", "tpu"}, "--device: \"tpu\" is not a device: cpu, cuda, or cuda: and a number are"},
      {{"--metrics", "here"}, "--metrics: \"here\" is not an address to listen on, such as 127.0.0.1:9100"},
      {{"--expert_options", "num_heads"},
       "--expert_options: \"num_heads\" is not of the form name=value, such as num_heads=8"},
      {{"--torchscript", "/nonexistent.pt"}, "--torchscript: there is no file \"/nonexistent.pt\""},
      {{"--torchscript_inputs", "64"}, "--torchscript_inputs: only the module of --torchscript needs it"},
      {{"--torchscript", "/proc/self/status", "--expert_cls", "ffn"},
       "--torchscript: the file says what the experts are; leave out --expert_cls and --expert_options"},
      {{"--torchscript", "/proc/self/status", "--torchscript_inputs", "wide"},
       "--torchscript_inputs: \"wide\" is not the shape of a sample, such as 512, 128x64 or 128:int64"},
      {{"--custom_module_path", "x.py"},
       "--custom_module_path: Python files cannot be run here; save the module with torch.jit.save and give it to "
       "--torchscript, or write a C++ module and a main that returns skep::cli::server_main<YourExpert>(argc, argv)"},
  };
  for (const auto& [arguments, sentence] : cases) {
    std::vector<std::string> all{"--num_experts", "1"};
    all.insert(all.end(), arguments.begin(), arguments.end());
    CHECK(refusal(all) == "skep-server: " + std::string(sentence));
  }
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
                           "--scheduler",
                           "--num_warmup_steps",
                           "--num_training_steps",
                           "--clip_grad_norm",
                           "--accumulate_samples",
                           "--checkpoint_dir",
                           "--torchscript",
                           "--metrics",
                           "SKEP_LOGLEVEL",
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
    CHECK(end - at <= 100);
    at = end + 1;
  }
}
