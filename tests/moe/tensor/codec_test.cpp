#include "skep/moe/tensor/codec.hpp"

#include "moe/tensor/support.hpp"
// doctest comes last: LibTorch's CHECK must not hide its own
#include <doctest/doctest.h>

using namespace skep::moe;  // NOLINT(*-using-namespace)

namespace {
Tensor raw(const Tensor& buffer) {
  return at::from_blob(buffer.data_ptr(), {static_cast<std::int64_t>(buffer.nbytes())}, at::kByte).clone();
}
Tensor round_trip(const Tensor& tensor, Compression codec) {
  auto buffer = encode(tensor, codec);
  REQUIRE(buffer);
  const TensorHeader header{tensor.sizes().vec(), tensor.scalar_type(), codec, tensor.requires_grad(), 0};
  auto back = decode(header, raw(*buffer));
  REQUIRE(back);
  return *back;
}
}  // namespace

TEST_CASE("E-2 NONE keeps every element type, shape and requires_grad") {
  for (const auto& [dtype, name] : skep::moe::detail::dtype_names) {
    CAPTURE(name);
    const auto tensor = torch::tensor({0, 1, 2, 3, 1, 0}).reshape({2, 3}).to(dtype);
    const auto back = round_trip(tensor, Compression::none);
    CHECK((back.scalar_type() == dtype));
    CHECK(at::equal(back, tensor));
  }
  CHECK(round_trip(torch::ones({2}).requires_grad_(), Compression::none).requires_grad());
  CHECK(round_trip(torch::tensor(1.5F), Compression::none).dim() == 0);
  CHECK(round_trip(torch::empty({0, 2}), Compression::none).sizes() == at::IntArrayRef({0, 2}));
}

TEST_CASE("NONE sends the tensor's own storage") {
  const auto tensor = torch::ones({4, 4});
  CHECK((*encode(tensor, Compression::none)).data_ptr() == tensor.data_ptr());
  CHECK((*encode(tensor.t(), Compression::none)).data_ptr() != tensor.data_ptr());
}

TEST_CASE("E FLOAT16 halves the bytes within the bound of Hivemind's test") {
  const auto tensor = torch::randn({1000, 10});
  CHECK((*encode(tensor, Compression::float16)).nbytes() * 2 == tensor.nbytes());
  CHECK((round_trip(tensor, Compression::float16) - tensor).square().mean().item<double>() < 5e-8);
  const auto big = round_trip(torch::tensor({1e9F, -1e9F}), Compression::float16);
  CHECK(at::equal(big, torch::tensor({65504.F, -65504.F})));
  CHECK((round_trip(torch::ones({2}, at::kDouble), Compression::float16).scalar_type() == at::kDouble));
}

TEST_CASE("E-3 FLOAT16 takes neither whole numbers nor bfloat16") {
  CHECK(encode(torch::ones({2}, at::kLong), Compression::float16).error() == tensor_errc::not_floating);
  CHECK(encode(torch::ones({2}, at::kBFloat16), Compression::float16).error() == tensor_errc::not_for_bfloat16);
  const auto buffer = torch::zeros({4}, at::kByte);
  CHECK(decode({{2}, at::kLong, Compression::float16, false, 0}, buffer).error() == tensor_errc::not_floating);
  CHECK(decode({{2}, at::kBFloat16, Compression::float16, false, 0}, buffer).error() == tensor_errc::not_for_bfloat16);
}

TEST_CASE("bfloat16 travels as float32 and is read in both forms") {
  const auto tensor = torch::randn({3, 4}).to(at::kBFloat16);
  CHECK((*encode(tensor, Compression::none)).nbytes() == tensor.nbytes() * 2);
  CHECK(at::equal(round_trip(tensor, Compression::none), tensor));
  const auto two_bytes = decode({{3, 4}, at::kBFloat16, Compression::none, false, 0}, raw(tensor));
  REQUIRE(two_bytes);
  CHECK(at::equal(*two_bytes, tensor));
}

TEST_CASE("foreign headers and buffers that do not fit are errors") {
  const auto buffer = torch::zeros({8}, at::kByte);
  CHECK(decode({{3}, at::kFloat, Compression::none, false, 0}, buffer).error() == tensor_errc::wrong_size);
  CHECK(decode({{2}, at::kInt, Compression::none, true, 0}, buffer).error() == tensor_errc::not_floating);
}

TEST_CASE("a byte that is neither 0 nor 1 becomes true") {
  const auto flags = decode({{3}, at::kBool, Compression::none, false, 0}, torch::tensor({0, 1, 7}, at::kByte));
  REQUIRE(flags);
  CHECK(at::equal((*flags).to(at::kInt), torch::tensor({0, 1, 1}, at::kInt)));
}
