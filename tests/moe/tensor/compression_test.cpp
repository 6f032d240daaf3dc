#include "skep/moe/tensor/compression.hpp"
// doctest comes last: LibTorch's CHECK must not hide its own
#include <doctest/doctest.h>

using namespace skep::moe;  // NOLINT(*-using-namespace)

TEST_CASE("names of codecs and element types are the wire's") {
  for (int i = 0; i < 6; ++i) {
    const auto codec = *compression_of_number(static_cast<std::uint64_t>(i));
    CHECK((*compression_of_name(name_of(codec)) == codec));
  }
  CHECK(name_of(Compression::blockwise_8bit) == "BLOCKWISE_8BIT");
  CHECK(compression_of_number(6).error() == tensor_errc::unknown_compression);
  CHECK(compression_of_name("ZIP").error() == tensor_errc::unknown_compression);
  for (const auto& [dtype, name] : skep::moe::detail::dtype_names) {
    CHECK(name_of(dtype) == name);
    CHECK((*dtype_of_name(name) == dtype));
  }
  CHECK(dtype_of_name("qint8").error() == tensor_errc::unknown_dtype);
}

TEST_CASE("E-3: lossy codecs take neither whole numbers nor, with 16 bits, bfloat16") {
  for (const auto codec : {Compression::meanstd_16bit, Compression::float16, Compression::quantile_8bit,
                           Compression::uniform_8bit, Compression::blockwise_8bit}) {
    const bool is_16bit = codec == Compression::float16 || codec == Compression::meanstd_16bit;
    CHECK(takes(codec, at::kFloat));
    CHECK(takes(codec, at::kDouble));
    CHECK(takes(codec, at::kHalf));
    CHECK(takes(codec, at::kBFloat16).has_value() == !is_16bit);
    if (is_16bit) CHECK(takes(codec, at::kBFloat16).error() == tensor_errc::not_for_bfloat16);
    for (const auto dtype : {at::kLong, at::kByte, at::kBool, at::kComplexFloat}) {
      CHECK(takes(codec, dtype).error() == tensor_errc::not_floating);
    }
  }
  for (const auto& [dtype, name] : skep::moe::detail::dtype_names) CHECK(takes(Compression::none, dtype));
}

TEST_CASE("E-1: the buffer's size follows from shape, element type and codec") {
  const auto size_of = [](std::vector<std::int64_t> size, Compression codec, at::ScalarType dtype = at::kFloat) {
    return *buffer_size({std::move(size), dtype, codec});
  };
  CHECK(size_of({3, 5}, Compression::none) == 60);
  CHECK(size_of({3, 5}, Compression::none, at::kComplexDouble) == 240);
  CHECK(size_of({3, 5}, Compression::none, at::kBFloat16) == 60);
  CHECK(*buffer_size({{3, 5}, at::kBFloat16}, false) == 30);
  CHECK(size_of({2, 3, 5}, Compression::meanstd_16bit) == 60 + 6 * 8);
  CHECK(size_of({4, 0}, Compression::meanstd_16bit) == 4 * 8);
  CHECK(size_of({0, 4}, Compression::meanstd_16bit) == 0);
  CHECK(buffer_size({{}, at::kFloat, Compression::meanstd_16bit}).error() == tensor_errc::not_for_scalars);
  CHECK(size_of({3, 5}, Compression::float16, at::kDouble) == 30);
  CHECK(size_of({3, 5}, Compression::uniform_8bit) == 8 + 1024 + 15);
  CHECK(size_of({}, Compression::quantile_8bit) == 8 + 1024 + 1);
  CHECK(size_of({4096}, Compression::blockwise_8bit) == 16 + 4 + 1024 + 4096);
  CHECK(size_of({4097}, Compression::blockwise_8bit) == 16 + 8 + 1024 + 4097);
  CHECK(size_of({0}, Compression::blockwise_8bit) == 16 + 1024);
  const std::int64_t huge = 4'294'967'295;
  for (int codec = 0; codec < 6; ++codec) {
    CHECK(buffer_size({{huge, huge, huge}, at::kFloat, static_cast<Compression>(codec)}).error() ==
          skep::errc::limit_exceeded);
  }
  CHECK(size_of({huge, 0, huge}, Compression::none) == 0);
}
