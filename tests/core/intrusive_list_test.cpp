#include "skep/core/intrusive_list.hpp"

#include <doctest/doctest.h>

#include <string>

using skep::ListLink;

namespace {
struct Item : ListLink {
  explicit Item(char c) : name(c) {}
  char name;
};

std::string names(const ListLink& head) {
  std::string out;
  for (const auto* link = head.next(); link != &head; link = link->next()) out += static_cast<const Item*>(link)->name;
  return out;
}
}  // namespace

TEST_CASE("links join at the end, anywhere, and leave from anywhere") {
  ListLink head;
  Item a('a'), b('b'), c('c');
  CHECK(head.is_alone());
  a.insert_before(head);
  c.insert_before(head);
  b.insert_before(c);
  CHECK(names(head) == "abc");
  b.unlink();
  CHECK(names(head) == "ac");
  CHECK(b.is_alone());
  b.unlink();
  b.insert_before(a);
  CHECK(names(head) == "bac");
  for (auto* item : {&a, &b, &c}) item->unlink();
  CHECK(head.is_alone());
}
