#include "skep/core/handle.hpp"

#include <doctest/doctest.h>

#include <utility>

namespace {

struct Thing {
  int* freed;
};
void free_thing(Thing* thing) { ++*thing->freed; }
using Owner = skep::Handle<Thing, free_thing>;

}  // namespace

TEST_CASE("a handle frees its object once, when it goes or gets another") {
  int freed = 0;
  Thing first{&freed};
  Thing second{&freed};
  {
    Owner one(&first);
    Owner other(std::move(one));
    CHECK_FALSE(one);  // NOLINT(bugprone-use-after-move): what a handle is then, is what is tested
    CHECK(other.get() == &first);
    CHECK(freed == 0);
    other = Owner(&second);
    CHECK(freed == 1);
  }
  CHECK(freed == 2);
}

TEST_CASE("a handle without an object frees nothing, nor does one that has released it") {
  int freed = 0;
  Thing thing{&freed};
  {
    const Owner none;
    CHECK_FALSE(none);
    Owner some(&thing);
    CHECK(some.release() == &thing);
    some = nullptr;
  }
  CHECK(freed == 0);
}
