#include "skep/moe/tensor/codecs/half.hpp"

#include <bit>
#include <vector>

#include "moe/tensor/codecs/support.hpp"

#include <doctest/doctest.h>

using namespace skep::moe::codecs;  // NOLINT(*-using-namespace)
using skep::test::infinity;
using skep::test::same_bytes;

TEST_CASE("float32 is rounded to the nearest float16, ties to even") {
  struct Case {
    float from;
    Half to;
  };
  for (const auto& [from, to] :
       {Case{0.F, 0}, Case{-0.F, 0x8000}, Case{1.F, 0x3c00}, Case{-2.F, 0xc000}, Case{1.F + 0x1p-11F, 0x3c00},
        Case{1.F + 0x1.8p-10F, 0x3c02}, Case{65504.F, 0x7bff}, Case{65519.F, 0x7bff}, Case{65520.F, 0x7c00},
        Case{0x1p-14F, 0x0400}, Case{0x1p-24F, 1}, Case{0x1p-25F, 0}, Case{0x1.8p-25F, 1}, Case{0x1.8p-24F, 2},
        Case{-1e-30F, 0x8000}, Case{infinity, 0x7c00}, Case{-infinity, 0xfc00}, Case{skep::test::nan, 0x7e00}}) {
    CAPTURE(from);
    CHECK(half_of(from) == to);
  }
}

TEST_CASE("every float16 comes back from float32") {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<Half>(bits);
    const bool is_nan = (bits & 0x7fffU) > 0x7c00U;
    REQUIRE(half_of(float_of(half)) == (is_nan ? ((bits & 0x8000U) | 0x7e00U) : bits));
  }
}

TEST_CASE("E-6: FLOAT16 clamps what is finite and hides nothing that is not") {
  CHECK(clamped_half_of(1e9F) == 0x7bff);
  CHECK(clamped_half_of(-1e9F) == 0xfbff);
  CHECK(clamped_half_of(infinity) == 0x7c00);
  CHECK(clamped_half_of(-infinity) == 0xfc00);
  CHECK(clamped_half_of(skep::test::nan) == 0x7e00);
}

TEST_CASE("all instructions give the same bytes") {
  std::vector<float> floats;
  for (std::uint64_t bits = 0; bits < 0x1'0000'0000; bits += 40'009) {
    floats.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(bits)));
  }
  for (float tie = 1; tie < 2; tie += 0x1p-11F) floats.push_back(tie);
  for (const auto& [shift, factor] : {std::pair{0.F, 1.F}, std::pair{0.3F, 1.7F}}) {
    std::vector<Half> portable(floats.size());
    std::vector<Half> best(floats.size());
    compress(floats, shift, factor, portable.data(), Simd::portable);
    compress(floats, shift, factor, best.data());
    CHECK(same_bytes(portable, best));
  }

  std::vector<Half> halves(0x10003);
  for (std::size_t i = 0; i < halves.size(); ++i) halves[i] = static_cast<Half>(i);
  std::vector<float> portable(halves.size());
  std::vector<float> best(halves.size());
  expand(halves, portable.data(), Simd::portable);
  expand(halves, best.data());
  CHECK(same_bytes(portable, best));
  expand(halves, 1.7F, 0.3F, portable.data(), Simd::portable);
  expand(halves, 1.7F, 0.3F, best.data());
  CHECK(same_bytes(portable, best));
}
