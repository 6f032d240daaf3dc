#include "skep/core/new_shared.hpp"

#include <doctest/doctest.h>

#include <memory>
#include <string>

namespace {

struct Thing : std::enable_shared_from_this<Thing> {
  Thing(std::string called, int& alive) : name(std::move(called)), count(alive) { ++count; }
  ~Thing() { --count; }
  std::string name;
  int& count;
};

}  // namespace

TEST_CASE("new_shared makes an object that its owners share, and that knows them") {
  int alive = 0;
  auto thing = skep::new_shared<Thing>("a name", alive);
  CHECK(thing->name == "a name");
  const auto other = thing->shared_from_this();
  thing.reset();
  CHECK(alive == 1);
  CHECK(other.use_count() == 1);
}

TEST_CASE("new_shared makes constants, too") {
  const std::shared_ptr<const std::string> text = skep::new_shared<const std::string>(3, 'x');
  CHECK(*text == "xxx");
}
