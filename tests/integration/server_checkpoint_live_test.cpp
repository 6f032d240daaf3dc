// Checkpoints of Hivemind 1.1.12 restored by skep, and skep's by Hivemind: both go on training alike.
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "skep/moe/server/checkpoints.hpp"
#include "skep/moe/server/layers.hpp"
#include "skep/moe/server/module_backend.hpp"
#include "support/coroutine.hpp"
#include "support/driver.hpp"
#include "support/temporary_folder.hpp"
// doctest comes last: LibTorch's CHECK must not hide its own
#include <doctest/doctest.h>

using nlohmann::json;
using namespace skep::moe;  // NOLINT(*-using-namespace)

namespace {

std::shared_ptr<ExpertBackend> expert() {
  BackendOptions options{.expert = {.hidden_dim = 16}, .scheduler = std::make_shared<BatchScheduler>()};
  options.schedule = {.kind = LearningRateSchedule::Kind::linear, .num_warmup_steps = 10, .num_training_steps = 100};
  return std::make_shared<ModuleBackend<Ffn>>("ffn.0", options);
}
Tensor samples() { return torch::linspace(-1, 1, 4 * 16).reshape({4, 16}); }
Tensor train(ExpertBackend& backend, int steps) {
  for (int i = 0; i < steps; ++i) (void)backend.backward({samples(), samples()});
  return backend.forward({samples()})[0].flatten();
}
bool near(const Tensor& ours, const json& theirs) {
  return at::allclose(ours, torch::tensor(theirs.get<std::vector<float>>()), 1e-4, 1e-5);
}

}  // namespace

CO_TEST_CASE("C8.3: a checkpoint of Hivemind is restored and goes on alike, and ours in Hivemind") {
  const skep::test::TemporaryFolder directory;
  const auto file = directory.path() / "ffn.0" / "checkpoint_last.pt";
  std::filesystem::create_directory(file.parent_path());
  skep_test::Driver hivemind(co_await skep::this_executor, "server_checkpoint_driver.py");
  const json three{{"steps", 3}}, none{{"steps", 0}}, path{{"path", file.string()}};
  const json trained = co_await hivemind("train", three);
  co_await hivemind("save", path);

  const auto ours = expert();
  Checkpoints checkpoints({.directory = directory.path()});
  REQUIRE(checkpoints.restore(*ours));
  CHECK(ours->update_count() == 3);
  CHECK(near(train(*ours, 0), trained));
  const json further = co_await hivemind("train", three);
  CHECK(near(train(*ours, 3), further));

  checkpoints.save(*ours);
  const json loaded = co_await hivemind("load", path);
  CHECK(loaded["steps"] == 6);
  CHECK(near(train(*ours, 0), loaded["outputs"]));
  const json last = co_await hivemind("train", three);
  CHECK(near(train(*ours, 3), last));
}
