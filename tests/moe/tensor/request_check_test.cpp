#include "skep/moe/tensor/request_check.hpp"

// doctest comes last: LibTorch's CHECK must not hide its own
#include <doctest/doctest.h>

using namespace skep::moe;  // NOLINT(*-using-namespace)

namespace {
const RequestCheck& backward() {
  static const RequestCheck check({{.size = {64}}, {.size = {2}, .dtype = at::kLong}}, {{.size = {64}}}, 100);
  return check;
}
std::string sentence(std::vector<Tensor> tensors) { return backward().tensors(tensors).value_or(""); }
Tensor x(std::int64_t batch, std::int64_t width = 64) { return torch::zeros({batch, width}); }
Tensor index(std::int64_t batch) { return torch::zeros({batch, 2}, at::kLong); }
}  // namespace

TEST_CASE("C7.9 a request that does not fit the schema is told so in one sentence") {
  CHECK(sentence({x(16), index(16), x(16)}).empty());
  CHECK(sentence({x(16, 65), index(16), x(16)}) == "input 0 is float32[16, 65], expected float32[batch, 64]");
  CHECK(sentence({x(16), x(16, 2), x(16)}) == "input 1 is float32[16, 2], expected int64[batch, 2]");
  CHECK(sentence({x(16), index(16), x(16).to(at::kDouble)}) ==
        "output gradient 0 is float64[16, 64], expected float32[batch, 64]");
  CHECK(sentence({torch::tensor(1.F), index(16), x(16)}) == "input 0 is float32[], expected float32[batch, 64]");
  CHECK(sentence({x(16), index(16), x(8)}) == "output gradient 0 has a batch of 8, input 0 one of 16");
}

TEST_CASE("a wrong number of tensors is refused") {
  CHECK(sentence({}) == "it has 0 tensors, expected 3");
  CHECK(sentence({x(16), index(16)}) == "it has 2 tensors, expected 3");
  CHECK(sentence({x(16), index(16), x(16), x(16)}) == "it has more than 3 tensors, expected 3");
}

TEST_CASE("C4.3 C7.2 an empty batch and one above the maximum are refused in Hivemind's words") {
  CHECK(sentence({x(0), index(0), x(0)}) == "Batch should contain more than 0 samples");
  CHECK(sentence({x(101), index(101), x(101)}) ==
        "Task size greater than max_task_size (100), it can't be processed; send it in parts");
  CHECK(sentence({x(100), index(100), x(100)}).empty());
}
