#include "skep/dht/nonce_memory.hpp"

#include <doctest/doctest.h>

using namespace skep;
using dht::NonceMemory;

namespace {
const Bytes alice{1};
const Bytes bob{2};
Bytes nonce(int n) { return {static_cast<std::uint8_t>(n), static_cast<std::uint8_t>(n >> 8)}; }
}  // namespace

TEST_CASE("A10.3 a nonce is fresh once, for two minutes at least; each signer has its own") {
  NonceMemory memory;
  CHECK(memory.remember(alice, nonce(1), {1000}) == NonceMemory::Outcome::fresh);
  CHECK(memory.remember(bob, nonce(1), {1000}) == NonceMemory::Outcome::fresh);
  CHECK(memory.remember(alice, nonce(2), {1119}) == NonceMemory::Outcome::fresh);
  for (const double now : {1000.0, 1119.0, 1120.0, 1200.0, 1238.0}) {
    CHECK(memory.remember(alice, nonce(2), {now}) == NonceMemory::Outcome::seen);
  }
  CHECK(memory.remember(alice, nonce(1), {1300}) == NonceMemory::Outcome::fresh);  // by then its clock is refused
}

TEST_CASE("A10.3 a clock that was set back or jumps ahead makes no replay fresh before its time") {
  NonceMemory memory;
  CHECK(memory.remember(alice, nonce(1), {5000}) == NonceMemory::Outcome::fresh);
  CHECK(memory.remember(alice, nonce(1), {1000}) == NonceMemory::Outcome::seen);
  CHECK(memory.remember(alice, nonce(1), {1110}) == NonceMemory::Outcome::seen);
  CHECK(memory.remember(alice, nonce(1), {1230}) == NonceMemory::Outcome::seen);
  CHECK(memory.remember(alice, nonce(1), {9000}) == NonceMemory::Outcome::fresh);
  CHECK(memory.size() == 1);
}

TEST_CASE("H-37 memory is bounded: when it is full nothing is admitted, and later it is empty again") {
  NonceMemory memory(100);
  for (int i = 0; i < 100; ++i) CHECK(memory.remember(alice, nonce(i), {1000}) == NonceMemory::Outcome::fresh);
  CHECK(memory.remember(alice, nonce(100), {1001}) == NonceMemory::Outcome::full);
  CHECK(memory.remember(bob, nonce(1), {1001}) == NonceMemory::Outcome::full);
  CHECK(memory.remember(alice, nonce(7), {1001}) == NonceMemory::Outcome::seen);
  CHECK(memory.remember(alice, nonce(100), {1130}) == NonceMemory::Outcome::fresh);
  CHECK(memory.size() == 101);
  CHECK(memory.remember(alice, nonce(101), {1400}) == NonceMemory::Outcome::fresh);
  CHECK(memory.size() == 1);
}
