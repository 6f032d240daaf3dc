// A module of Hivemind's, exported from Python as TorchScript, is served and trained as Python trains it.
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "skep/moe/server/torchscript_backend.hpp"
#include "support/coroutine.hpp"
#include "support/driver.hpp"
// doctest comes last: LibTorch's CHECK must not hide its own
#include <doctest/doctest.h>

using nlohmann::json;
using namespace skep::moe;  // NOLINT(*-using-namespace)

namespace {
Tensor matrix(const json& rows) {
  std::vector<float> numbers;
  for (const auto& row : rows) {
    for (const auto& number : row) numbers.push_back(number.get<float>());
  }
  return torch::tensor(numbers).view({static_cast<std::int64_t>(rows.size()), -1});
}
}  // namespace

CO_TEST_CASE("a TorchScript file from Python gives Python's outputs, gradients and steps") {
  const auto file = std::filesystem::temp_directory_path() / ("skep_exported_" + std::to_string(::getpid()) + ".pt");
  skep_test::Driver python(co_await skep::this_executor, "expert_torchscript_driver.py");
  const json task{{"file", file.string()}, {"width", 16}, {"rows", 8}, {"steps", 4}, {"learning_rate", 1e-2}};
  const json theirs = co_await python("export", task);

  const BackendOptions options{.expert = {.hidden_dim = 16}, .optimizer = adam(1e-2)};
  TorchScriptBackend backend("exported.0", {.file = file}, options);
  std::filesystem::remove(file);
  CHECK(backend.class_name() == "FeedforwardBlock");
  CHECK(backend.state().parameters.contains("layer_norm.weight"));
  const Tensor x = matrix(theirs.at("inputs")), g = matrix(theirs.at("gradients"));
  CHECK(at::allclose(backend.forward({x})[0], matrix(theirs.at("before")), 1e-4, 1e-5));
  Tensor input_gradients;
  for (int i = 0; i < 4; ++i) input_gradients = backend.backward({x, g})[0];
  CHECK(at::allclose(input_gradients, matrix(theirs.at("input_gradients")), 1e-3, 1e-4));
  CHECK(at::allclose(backend.forward({x})[0], matrix(theirs.at("after")), 1e-3, 1e-4));
  CHECK(backend.update_count() == 4);
}
