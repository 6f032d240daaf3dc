#include "skep/moe/tensor/error.hpp"

#include <doctest/doctest.h>

using skep::moe::tensor_errc;

TEST_CASE("every tensor error has a sentence, and a refused codec is named in it") {
  for (int i = 1; i <= static_cast<int>(tensor_errc::wrong_structure); ++i) {
    CHECK(describe(static_cast<tensor_errc>(i)) != "unknown error");
  }
  const std::error_code code = tensor_errc::no_quantile_8bit;
  CHECK(code.message() == "the compression QUANTILE_8BIT is not supported, use NONE or FLOAT16");
  CHECK(std::string_view(code.category().name()) == "skep.tensor");
}
