#include "skep/moe/server/compute_guards.hpp"

// doctest comes last: LibTorch's CHECK must not hide its own
#include <doctest/doctest.h>

using skep::moe::BufferGuard;
using skep::moe::RandomGuard;

TEST_CASE("buffers are put back, in place, unless they are kept") {
  const auto buffer = torch::ones({2});
  {
    const BufferGuard guard({buffer});
    buffer.fill_(5);
  }
  CHECK(at::equal(buffer, torch::ones({2})));
  {
    BufferGuard guard({buffer});
    buffer.fill_(5);
    guard.keep();
  }
  CHECK(at::equal(buffer, torch::full({2}, 5.F)));
}

TEST_CASE("random numbers go on where they were, unless they are kept") {
  torch::manual_seed(1);
  const auto draw = [](bool keep) {
    RandomGuard guard;
    if (keep) guard.keep();
    return torch::rand({3});
  };
  const auto first = draw(false);
  CHECK(at::equal(draw(true), first));
  CHECK_FALSE(at::equal(draw(false), first));
}
