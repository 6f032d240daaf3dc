#include "skep/moe/tensor/tensor_assembly.hpp"

#include <cstring>

#include "moe/tensor/support.hpp"
// doctest comes last: LibTorch's CHECK must not hide its own
#include <doctest/doctest.h>

using skep::moe::tensor_errc;
using skep::moe::TensorAssembly;
using skep::test::from_hex;

namespace {
void put(TensorAssembly& assembly, float value) {
  const auto place = assembly.on_buffer(4);
  REQUIRE(place.size() == 4);
  std::memcpy(place.data(), &value, 4);
}
/// float32[2] in two chunks
skep::Bytes header() { return from_hex("120102 2207666c6f61743332 3002"); }
}  // namespace

TEST_CASE("a tensor of two chunks is put together in one storage") {
  TensorAssembly assembly({}, {}, {});
  for (const float value : {1.F, 2.F}) {
    assembly.begin_message();
    assembly.on_fields(from_hex("0a03612e30"));
    put(assembly, value);
    assembly.on_part(value == 1 ? header() : skep::Bytes{});
  }
  CHECK(assembly.uid() == "a.0");
  CHECK(assembly.messages() == 2);
  const auto tensors = assembly.take();
  REQUIRE(tensors);
  CHECK(at::equal((*tensors)[0], torch::tensor({1.F, 2.F})));
}

TEST_CASE("the first wrong step is kept as the sentence") {
  TensorAssembly assembly({}, {}, {});
  assembly.begin_message();
  put(assembly, 1);
  assembly.on_part(header());
  CHECK_FALSE(assembly.refused());
  CHECK(assembly.on_buffer(8).empty());  // more than is missing
  CHECK(assembly.refused());
  assembly.on_malformed(make_error_code(skep::errc::malformed));
  CHECK(assembly.refusal() == "tensor 0: the tensor's buffer does not have the size that its shape says");
  CHECK(assembly.take().error() == tensor_errc::wrong_size);
}

TEST_CASE("storage is bounded by the limit") {
  TensorAssembly assembly({.total = 10}, {}, {});
  assembly.begin_message();
  put(assembly, 1);
  assembly.on_part(header());
  put(assembly, 2);
  assembly.on_part({});
  CHECK(assembly.on_buffer(4).empty());
  CHECK(assembly.refusal() == "its tensors are larger than the limit of 10 bytes");
}
