#include "skep/moe/server/torchscript_backend.hpp"

#include <unistd.h>

#include <filesystem>
#include <string>

// doctest comes last: LibTorch's CHECK must not hide its own
#include <doctest/doctest.h>

using namespace skep::moe;  // NOLINT(*-using-namespace)

namespace {
/// A TorchScript file of a module with a weight [4, 4] of ones and a buffer, as Python would export it.
class ScriptFile {
 public:
  explicit ScriptFile(const std::string& forward)
      : path_(std::filesystem::temp_directory_path() / ("skep_script_" + std::to_string(::getpid()) + ".pt")) {
    torch::jit::Module module("Scaled");
    module.register_parameter("weight", torch::ones({4}).requires_grad_(), /*is_buffer=*/false);
    module.register_buffer("seen", torch::zeros({1}));
    module.register_attribute("training", c10::BoolType::get(), true);
    module.define(forward);
    module.save(path_);
  }
  ScriptFile(const ScriptFile&) = delete;
  ScriptFile& operator=(const ScriptFile&) = delete;
  ~ScriptFile() { std::filesystem::remove(path_); }

  [[nodiscard]] TorchScriptOptions options() const { return {.file = path_}; }

 private:
  std::string path_;
};

std::string words(const std::function<void()>& f) {
  try {
    f();
  } catch (const skep::Error& e) {
    return e.what();
  }
  return "";
}
const BackendOptions narrow{.expert = {.hidden_dim = 4}, .optimizer = sgd(1)};
}  // namespace

TEST_CASE("a TorchScript file is served and trained; without a sample its inputs are rows of the width") {
  const ScriptFile file("def forward(self, x):\n    self.seen.add_(1)\n    return x * self.weight\n");
  TorchScriptBackend backend("scaled.0", file.options(), narrow);
  CHECK(backend.class_name() == "Scaled");
  CHECK(backend.parameter_count() == 4);
  CHECK(backend.schema().args.items()[0].leaf().to_string() == "float32[batch, 4]");
  const auto x = torch::full({2, 4}, 2.F);
  CHECK(at::equal(backend.forward({x})[0], x));
  CHECK(at::equal(backend.backward({x, torch::ones({2, 4})})[0], torch::ones({2, 4})));
  CHECK(at::equal(backend.module().attr("weight").toTensor(), torch::full({4}, -3.F)));
  CHECK(backend.module().attr("seen").toTensor().item<float>() == 1);  // C4.7: for the trained batch alone
  CHECK(backend.state().buffers["seen"].item<float>() == 1);
}

TEST_CASE("a frozen TorchScript file answers in eval mode and does not learn") {
  const ScriptFile file("def forward(self, x):\n    return x * self.weight if self.training else -x * self.weight\n");
  auto options = file.options();
  options.trained = false;
  TorchScriptBackend backend("scaled.0", options, narrow);
  CHECK(backend.parameter_count() == 0);
  const auto x = torch::ones({2, 4});
  CHECK(at::equal(backend.forward({x})[0], -x));
  CHECK(at::equal(backend.backward({x, x})[0], -x));
  CHECK(backend.update_count() == 0);
}

TEST_CASE("H-13 a script takes nested and keyword inputs and gives dictionaries and lists") {
  const ScriptFile file(
      "def forward(self, pair: Tuple[Tensor, Dict[str, Tensor]], zeta: Tensor, alpha: Tensor):\n"
      "    return {'sum': pair[0] * self.weight + pair[1]['b']}, [zeta, alpha]\n");
  auto options = file.options();
  options.sample = {TensorTree::tuple({row(4), TensorTree::dict({"b"}, {row(4)})}), row(2), row(3, at::kLong)};
  options.keyword_names = {"zeta", "alpha"};
  TorchScriptBackend backend("scaled.0", options, narrow);
  CHECK(backend.schema().keyword_names == options.keyword_names);
  CHECK(backend.schema().outputs.items()[0].kind() == SchemaTree::Kind::dict);
  const auto x = torch::ones({2, 4}), zeta = torch::randn({2, 2}), alpha = torch::ones({2, 3}, at::kLong);
  const auto y = backend.forward({x, x, alpha, zeta});  // on the wire: by sorted name
  REQUIRE(y.size() == 3);
  CHECK(at::equal(y[0], x + x));
  CHECK(at::equal(y[1], zeta));
  CHECK(at::equal(y[2], alpha));
  const auto gradients = backend.backward({x, x, alpha, zeta, x, zeta, alpha});
  CHECK(at::equal(gradients[3], zeta));
}

TEST_CASE("what is wrong with a TorchScript file is a sentence") {
  CHECK(words([] {
          const TorchScriptBackend none("scaled.0", {.file = "/nowhere/net.pt"});
        }).starts_with("skep: cannot read the TorchScript file /nowhere/net.pt: "));
  const ScriptFile file(
      "def forward(self, x, mask: Dict[str, Tensor]):\n    self.seen = self.seen + 1\n    return x\n");
  auto options = file.options();
  const auto sentence = [&] { return words([&] { const TorchScriptBackend wrong("scaled.0", options, narrow); }); };
  CHECK(sentence().ends_with(": input \"mask\" of its forward is Dict(str, Tensor): give a sample of it"));
  options.sample = {row(4), TensorTree::dict({"m"}, {row(4)})};
  CHECK(sentence().ends_with(
      ": its forward replaces the buffer \"seen\"; let it be changed in place, as add_ and copy_ do"));
  options.keyword_names = {"masks"};
  CHECK(sentence().ends_with(": its forward has no input \"masks\""));
  options.keyword_names = {"mask"};
  options.sample.emplace_back(row(4));
  CHECK(sentence().ends_with(": its forward takes 2 inputs, but 3 samples and 1 names are given"));
  const ScriptFile number("def forward(self, x):\n    return 5\n");
  CHECK(words([&] {
          const TorchScriptBackend wrong("scaled.0", number.options(), narrow);
        }).ends_with("its forward returns int, not tensors in tuples, lists or dictionaries"));
}
