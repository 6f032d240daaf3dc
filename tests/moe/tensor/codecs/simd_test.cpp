#include "skep/moe/tensor/codecs/simd.hpp"

#include <doctest/doctest.h>

using namespace skep::moe::codecs;  // NOLINT(*-using-namespace)

TEST_CASE("the processor's best is known and stays the same") {
  const Simd best = best_simd();
  CHECK((best == Simd::portable || best == Simd::avx2));
  CHECK(best == best_simd());
}
