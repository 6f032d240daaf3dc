#include "skep/moe/tensor/torch_script.hpp"

#include <sstream>

#include <doctest/doctest.h>

TEST_CASE("a script is written and read back") {
  torch::jit::Module twice("Twice");
  twice.define("def forward(self, x):\n    return x + x\n");
  std::stringstream file;
  twice.save(file);
  auto read = torch::jit::load(file);
  CHECK(at::equal(read.forward({torch::ones({3})}).toTensor(), torch::full({3}, 2.F)));
}
