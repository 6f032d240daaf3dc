#include "skep/moe/tensor/error.hpp"

#include <doctest/doctest.h>

using skep::moe::tensor_errc;

TEST_CASE("every tensor error has a sentence") {
  for (int i = 1; i <= static_cast<int>(tensor_errc::wrong_structure); ++i) {
    CHECK(describe(static_cast<tensor_errc>(i)) != "unknown error");
  }
  const std::error_code code = tensor_errc::wrong_codebook;
  CHECK(code.message() == "the tensor's codebook does not have 256 values");
  CHECK(std::string_view(code.category().name()) == "skep.tensor");
}
