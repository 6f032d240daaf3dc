#include "skep/moe/tensor/codec.hpp"

#include <filesystem>
#include <fstream>

#include "moe/tensor/codecs/support.hpp"
#include "moe/tensor/support.hpp"
// doctest comes last: LibTorch's CHECK must not hide its own
#include <doctest/doctest.h>

using namespace skep::moe;  // NOLINT(*-using-namespace)
using skep::test::from_hex;

namespace {
constexpr std::array codecs_with_loss{Compression::meanstd_16bit, Compression::float16, Compression::quantile_8bit,
                                      Compression::uniform_8bit, Compression::blockwise_8bit};

Tensor raw(const Tensor& buffer) {
  return at::from_blob(buffer.data_ptr(), {static_cast<std::int64_t>(buffer.nbytes())}, at::kByte).clone();
}
Tensor bytes(const skep::Bytes& all) {
  return at::from_blob(const_cast<std::uint8_t*>(all.data()), {static_cast<std::int64_t>(all.size())}, at::kByte)
      .clone();
}
bool same_bytes(const Tensor& a, const Tensor& b) { return at::equal(raw(a), raw(b)); }

/// tests/vectors/codecs.json: what Hivemind wrote, and what it reads from that.
const nlohmann::json& recorded() {
  static const nlohmann::json all = [] {
    std::ifstream file(std::filesystem::path(SKEP_TEST_VECTORS).replace_filename("codecs.json"));
    return nlohmann::json::parse(file);
  }();
  return all;
}
/// Hexadecimal, (n) for n zero bytes, {codebook} for that of BLOCKWISE_8BIT.
skep::Bytes unpacked(std::string text) {
  const std::string codebook = "{codebook}";
  if (const auto at = text.find(codebook); at != std::string::npos) {
    text.replace(at, codebook.size(), recorded().at("blockwise_codebook").get<std::string>());
  }
  skep::Bytes all;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t zeros = text.find('(', i);
    skep::append(all, from_hex(std::string_view(text).substr(i, zeros - i)));
    if (zeros == std::string::npos) break;
    all.resize(all.size() + std::stoul(text.substr(zeros + 1)));
    i = text.find(')', zeros) + 1;
  }
  return all;
}
Tensor tensor_of(const std::vector<float>& values) { return torch::tensor(at::ArrayRef<float>(values)); }
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

TEST_CASE("NONE is read where the bytes lie, a tensor of its own that is no view, wherever they begin") {
  const Tensor sent = torch::tensor({1.F, -2.F, 3.F});
  const Tensor all = at::cat({raw(torch::tensor({9.F})), raw(sent), raw(torch::tensor({9.F}))});
  for (const std::int64_t begin : {4, 3}) {
    CAPTURE(begin);
    const Tensor buffer =
        begin == 4 ? all.narrow(0, 4, 12) : at::cat({all.narrow(0, 0, 3), raw(sent)}).narrow(0, 3, 12);
    auto back = decode({{3, 1}, at::kFloat, Compression::none, true, 0}, buffer);
    REQUIRE(back);
    CHECK(at::equal(back->detach().squeeze(1), sent));
    CHECK(back->is_contiguous());
    CHECK(back->requires_grad());
    CHECK_FALSE(back->is_view());
    CHECK((back->data_ptr() == buffer.data_ptr()) == (begin == 4));  // unaligned ones are moved
  }
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

TEST_CASE("E-1, E-2: what Hivemind writes with any codec and element type is read as Hivemind reads it") {
  for (const auto& item : recorded().at("cases")) {
    CAPTURE(item.at("name").get<std::string>());
    CAPTURE(item.at("compression").get<std::string>());
    CAPTURE(item.at("dtype").get<std::string>());
    const TensorHeader header{.size = item.at("size").get<std::vector<std::int64_t>>(),
                              .dtype = *dtype_of_name(item.at("dtype").get<std::string>()),
                              .compression = *compression_of_name(item.at("compression").get<std::string>()),
                              .requires_grad = item.at("requires_grad").get<bool>()};
    const auto back = decode(header, bytes(unpacked(item.at("buffer"))));
    REQUIRE(back);
    CHECK((back->scalar_type() == header.dtype));
    CHECK(back->sizes().vec() == header.size);
    CHECK(back->requires_grad() == header.requires_grad);
    const Tensor expected = bytes(unpacked(item.at("decoded")));
    const auto nan = back->detach().isnan();
    if (nan.any().item<bool>()) {  // whose sign and payload mean nothing
      const auto theirs = expected.view(header.dtype).view(header.size);
      CHECK(at::equal(nan, theirs.isnan()));
      CHECK(at::equal(back->masked_select(~nan), theirs.masked_select(~nan)));
    } else {
      CHECK(at::equal(raw(back->detach()), expected));
    }
  }
}

TEST_CASE("the error of every codec is not above Hivemind's for the same numbers") {
  for (const auto& item : recorded().at("errors")) {
    const auto distribution = item.at("distribution").get<std::string>();
    const auto values = tensor_of(skep::test::numbers(distribution, item.at("size").get<std::size_t>()));
    CAPTURE(distribution);
    REQUIRE(values[0].item<double>() == item.at("first").get<double>());
    for (const auto codec : codecs_with_loss) {
      CAPTURE(name_of(codec));
      const auto difference = round_trip(values, codec).to(at::kDouble) - values.to(at::kDouble);
      const double error = difference.square().mean().item<double>();
      // MEANSTD_16BIT computes as Hivemind does: where most numbers are equal, how that one is rounded is chance
      const double chance = codec == Compression::meanstd_16bit ? 1e-2 : 1e-4;
      CHECK(error <= item.at(std::string(name_of(codec))).get<double>() * (1 + chance));
    }
  }
}

TEST_CASE("E-2, E-6: every shape and floating-point type keeps shape, type and requires_grad with every codec") {
  for (const auto codec : codecs_with_loss) {
    CAPTURE(name_of(codec));
    for (const auto dtype : {at::kFloat, at::kDouble, at::kHalf, at::kBFloat16}) {
      if (!takes(codec, dtype)) continue;
      for (const auto& size : std::vector<std::vector<std::int64_t>>{{}, {1}, {0}, {0, 2}, {2, 0}, {5, 3, 7}}) {
        if (size.empty() && codec == Compression::meanstd_16bit) continue;
        const auto tensor = torch::full(size, 0.25, dtype).requires_grad_();
        const auto back = round_trip(tensor, codec);
        CHECK(at::equal(back, tensor));  // equal numbers are exact
        CHECK(back.sizes() == tensor.sizes());
        CHECK((back.scalar_type() == dtype));
        CHECK(back.requires_grad());
      }
    }
  }
  CHECK(encode(torch::tensor(1.F), Compression::meanstd_16bit).error() == tensor_errc::not_for_scalars);
}

TEST_CASE("E-6: NaN and infinity are never hidden and spoil no other number, with every codec") {
  auto values = skep::test::numbers("bell", 3000);
  values[100] = skep::test::nan;
  values[1500] = skep::test::infinity;
  values[2999] = -skep::test::infinity;
  const auto tensor = tensor_of(values).reshape({30, 100});
  for (const auto codec : codecs_with_loss) {
    CAPTURE(name_of(codec));
    const auto back = round_trip(tensor, codec);
    CHECK(at::equal(back.isnan(), tensor.isnan()));
    CHECK(at::equal(back.isposinf(), tensor.isposinf()));
    CHECK(at::equal(back.isneginf(), tensor.isneginf()));
    CHECK((back - tensor).nan_to_num(0).abs().max().item<double>() < 0.2);
  }
  const auto huge = round_trip(torch::tensor({1e300, -1e300, 1.0}, at::kDouble), Compression::float16);
  CHECK(at::equal(huge, torch::tensor({65504.0, -65504.0, 1.0}, at::kDouble)));
}

TEST_CASE("encoding leaves the tensor alone, reads any layout, and is deterministic") {
  const auto tensor = tensor_of(skep::test::numbers("tails", 6000)).reshape({60, 100});
  const auto before = tensor.clone();
  for (const auto codec : codecs_with_loss) {
    const auto buffer = *encode(tensor, codec);
    CHECK(same_bytes(buffer, *encode(tensor, codec)));
    CHECK(same_bytes(buffer, *encode(tensor.t().contiguous().t(), codec)));
    CHECK(static_cast<std::size_t>(buffer.nbytes()) == *buffer_size({{60, 100}, at::kFloat, codec}));
  }
  CHECK(at::equal(tensor, before));
  const auto complex = torch::complex(torch::ones({2}), torch::ones({2}));
  CHECK(at::equal(round_trip(complex.conj(), Compression::none), complex.conj()));
}

TEST_CASE("lengths inside a buffer that do not fit are refused with a sentence, as is any size but the right one") {
  const auto tensor = torch::ones({2, 3000});
  struct Case {
    Compression codec;
    std::int64_t offset;
    std::int64_t right;
    tensor_errc error;
  };
  for (const auto& [codec, offset, right, error] :
       {Case{Compression::quantile_8bit, 0, 256, tensor_errc::wrong_codebook},
        Case{Compression::uniform_8bit, 0, 256, tensor_errc::wrong_codebook},
        Case{Compression::blockwise_8bit, 0, 2, tensor_errc::wrong_blocks},
        Case{Compression::blockwise_8bit, 8, 256, tensor_errc::wrong_codebook}}) {
    const TensorHeader header{.size = {2, 3000}, .compression = codec};
    const Tensor buffer = *encode(tensor, codec);
    auto* length = static_cast<std::uint8_t*>(buffer.data_ptr()) + offset;
    REQUIRE(skep::load_le<std::int64_t>(length) == right);
    for (const std::int64_t wrong : {std::int64_t{0}, right - 1, right + 1, std::int64_t{1} << 40, std::int64_t{-1},
                                     std::numeric_limits<std::int64_t>::min()}) {
      skep::store_le(length, wrong);
      CHECK(decode(header, buffer).error() == error);
    }
  }
  for (const auto codec : codecs_with_loss) {
    const TensorHeader header{.size = {2, 3000}, .compression = codec};
    const auto size = static_cast<std::int64_t>(*buffer_size(header));
    for (const std::int64_t wrong : {std::int64_t{0}, std::int64_t{1}, std::int64_t{8}, size - 1, size + 1, 2 * size}) {
      CHECK(decode(header, torch::zeros({wrong}, at::kByte)).error() == tensor_errc::wrong_size);
    }
    const TensorHeader scalar{.compression = codec};
    CHECK(decode(scalar, torch::zeros({3}, at::kByte)).error() ==
          (codec == Compression::meanstd_16bit ? tensor_errc::not_for_scalars : tensor_errc::wrong_size));
  }
}
