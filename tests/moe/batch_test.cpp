#include "skep/moe/batch.hpp"

#include <functional>
#include <string>

#include <doctest/doctest.h>

using skep::moe::argument_t;
using skep::moe::Batchable;
using skep::moe::BatchTraits;
using Ints = std::vector<int>;

namespace {
struct Odd {};
using Twice = int (*)(Ints);
using ByReference = decltype([](const Ints& batch) { return batch; });
using Generic = decltype([](auto batch) { return batch; });
}  // namespace

static_assert(Batchable<Ints> && Batchable<std::vector<std::string>>);
static_assert(!Batchable<int> && !Batchable<Odd>);
static_assert(std::same_as<argument_t<ByReference>, Ints>);
static_assert(std::same_as<argument_t<Twice>, Ints>);
static_assert(std::same_as<argument_t<std::function<int(Ints)>>, Ints>);
static_assert(std::same_as<argument_t<Generic>, skep::moe::detail::UnknownBatch>);

TEST_CASE("vectors are joined in order and split by sizes") {
  const std::vector<Ints> parts{{1, 2}, {}, {3}};
  CHECK(BatchTraits<Ints>::join(parts) == Ints{1, 2, 3});
  CHECK(BatchTraits<Ints>::split({1, 2, 3}, std::vector<std::size_t>{2, 0, 1}) == parts);
  CHECK(BatchTraits<Ints>::size(parts[0]) == 2);
  CHECK(skep::moe::same_shape(parts[0], parts[1]));
}
