#include "skep/async/outcome.hpp"

#include <memory>
#include <stdexcept>
#include <string>

#include "support/coroutine.hpp"

using namespace skep;

namespace {
struct NoDefault {
  explicit NoDefault(int v) : value(std::make_unique<int>(v)) {}
  std::unique_ptr<int> value;
};

awaitable<NoDefault> give(int value) {
  if (value < 0) throw std::out_of_range("negative");
  co_return NoDefault(value);
}
}  // namespace

CO_TEST_CASE("run_into keeps a value of a type that can only be moved") {
  Outcome<NoDefault> outcome;
  CHECK_FALSE(outcome);
  CHECK_FALSE(outcome.error());
  co_await detail::run_into(give(3), outcome);
  REQUIRE(outcome);
  CHECK(*outcome->value == 3);
  const auto value = std::move(outcome).get();
  CHECK(*value.value == 3);
}

CO_TEST_CASE("run_into keeps what was thrown, and get throws it") {
  Outcome<NoDefault> outcome;
  co_await detail::run_into(give(-1), outcome);
  CHECK_FALSE(outcome);
  CHECK(outcome.error());
  CHECK_THROWS_WITH_AS(std::move(outcome).get(), "negative", std::out_of_range);
}
