// A fuzz target as an ordinary test: its seeds, their prefixes, and seeded mutations of them. With -DSKEP_LIBFUZZER and
// -fsanitize=fuzzer the same file is a libFuzzer program instead, without doctest.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <utility>
#include <vector>

#include "skep/core/bytes.hpp"
#include "skep/core/random.hpp"
#include "support/hostile.hpp"

/// The entry point that libFuzzer calls; every fuzz program defines it.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace skep_test {

/// An invariant of a fuzz target: its failure ends the program, which libFuzzer and CTest both notice.
#define SKEP_FUZZ_CHECK(condition)                                                     \
  ((condition) ? void() : [] {                                                         \
    std::fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition); \
    std::abort();                                                                      \
  }())

/// Takes small decisions from the front of a fuzz input.
class FuzzInput {
 public:
  explicit FuzzInput(skep::BytesView bytes) noexcept : rest_(bytes) {}

  [[nodiscard]] bool empty() const noexcept { return rest_.empty(); }
  [[nodiscard]] std::size_t byte() noexcept {
    if (rest_.empty()) return 0;
    const std::uint8_t value = rest_.front();
    rest_ = rest_.subspan(1);
    return value;
  }
  [[nodiscard]] skep::BytesView take(std::size_t size) noexcept {
    return std::exchange(rest_, rest_.subspan(std::min(size, rest_.size()))).first(std::min(size, rest_.size()));
  }
  [[nodiscard]] skep::BytesView rest() noexcept { return std::exchange(rest_, {}); }

 private:
  skep::BytesView rest_;
};

/// Runs the target on every seed, on prefixes, and on mutations of mutations. SKEP_FUZZ_ITERATIONS in the environment
/// replaces the number of mutations, SKEP_FUZZ_SEED the random seed.
inline void run_fuzz_target(const std::vector<skep::Bytes>& seeds, std::size_t iterations) {
  const auto number = [](const char* name, std::size_t otherwise) -> std::size_t {
    const char* text = std::getenv(name);
    return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
  };
  const auto run = [](skep::BytesView bytes) { LLVMFuzzerTestOneInput(bytes.data(), bytes.size()); };
  for (const auto& seed : seeds) {
    run(seed);
    for_hostile_bytes(seed, run, 0);
  }
  skep::Random random(number("SKEP_FUZZ_SEED", 1));
  std::vector<skep::Bytes> pool = seeds;
  for (std::size_t i = number("SKEP_FUZZ_ITERATIONS", iterations); i > 0; --i) {
    skep::Bytes& parent = pool[random.below(pool.size())];
    skep::Bytes child = mutated(parent, random);
    child.shrink_to_fit();  // so that AddressSanitizer sees a read behind the end
    run(child);
    if (random.below(8) == 0) parent = child.size() < 4096 ? std::move(child) : seeds[random.below(seeds.size())];
  }
}

}  // namespace skep_test

#ifndef SKEP_LIBFUZZER
#include <doctest/doctest.h>
/// Defines the test: seeds are an expression that gives std::vector<skep::Bytes>.
#define SKEP_FUZZ_TEST(name, seeds, iterations)        \
  TEST_CASE(name) {                                    \
    skep_test::run_fuzz_target((seeds), (iterations)); \
    CHECK(true);                                       \
  }
#else
#define SKEP_FUZZ_TEST(name, seeds, iterations) [[maybe_unused]] static const auto unused = [] { return seeds; };
#endif
