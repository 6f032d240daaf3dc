#include "skep/cli/server_setup.hpp"

#include <string>
// doctest comes last: LibTorch's CHECK must not hide its own
#include <doctest/doctest.h>

using namespace skep;

namespace {

cli::ServerFlags one_expert() {
  cli::ServerFlags flags;
  flags.num_experts = 1;
  return flags;
}

double rate_of(const cli::ServerFlags& flags) {
  const auto made = cli::server_options(flags).optimizer({torch::zeros({1}).requires_grad_()});
  REQUIRE(made);
  return made->param_groups()[0].options().get_lr();
}

std::string refusal(const cli::ServerFlags& flags) {
  try {
    (void)cli::server_options(flags);
  } catch (const Error& error) {
    CHECK(error.code() == errc::invalid_argument);
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("D1 what the flags come to") {
  auto flags = one_expert();
  const auto usual = cli::server_options(flags);
  CHECK(usual.experts.at(0).num_experts == 1);
  CHECK(usual.experts.at(0).expert.hidden_dim == 1024);
  CHECK(usual.schedule == moe::LearningRateSchedule{});
  CHECK(usual.accumulate_samples == 0);
  CHECK(usual.declaration_life() == 60s);
  CHECK(usual.checkpoints.directory.empty());

  flags.scheduler = "linear";
  flags.num_warmup_steps = 10;
  flags.num_training_steps = 100;
  flags.clip_grad_norm = 0.5;
  flags.accumulate_samples = 64;
  flags.expert_options = {"num_heads=8", "note=a=b"};
  flags.update_period = 0.5;
  flags.checkpoint_dir = "/tmp";
  const auto chosen = cli::server_options(flags);
  CHECK(chosen.schedule == moe::LearningRateSchedule{moe::LearningRateSchedule::Kind::linear, 10, 100});
  CHECK(chosen.clip_grad_norm == 0.5);
  CHECK(chosen.accumulate_samples == 64);
  CHECK(chosen.experts.at(0).expert.get<int>("num_heads", 16) == 8);
  CHECK(chosen.experts.at(0).expert.get<std::string>("note", "") == "a=b");
  CHECK(chosen.declaration_life() == 3s);
  CHECK(chosen.checkpoints.directory == "/tmp");
  CHECK(chosen.checkpoints.period == 500ms);
}

TEST_CASE("D1 the optimizers and their learning rates") {
  auto flags = one_expert();
  CHECK(rate_of(flags) == 1e-3);
  flags.optimizer = "sgd";
  CHECK(rate_of(flags) == 0.01);
  flags.learning_rate = 0.5;
  for (const auto& name : cli::detail::optimizer_names()) {
    flags.optimizer = name;
    if (name != "none") CHECK(rate_of(flags) == 0.5);
  }
  flags.optimizer = "none";
  CHECK(cli::server_options(flags).optimizer({torch::zeros({1}).requires_grad_()}) == nullptr);
}

TEST_CASE("D1 every codec has a name that --compression takes") {
  auto flags = one_expert();
  for (const auto& name : cli::detail::compression_names()) {
    CAPTURE(name);
    CHECK(moe::compression_of_name(name));
  }
  flags.compression = "FLOAT16";
  CHECK(cli::server_options(flags).compression == moe::Compression::float16);
}

TEST_CASE("D1 a CPU-only LibTorch refuses cuda in one line") {
  auto flags = one_expert();
  flags.device = "cuda:0";
  if (!at::hasCUDA()) {
    CHECK(refusal(flags) == "skep: --device: this LibTorch knows no CUDA; leave out --device, or give cpu");
  }
  flags.device = "cpu";
  CHECK(refusal(flags).empty());
}
