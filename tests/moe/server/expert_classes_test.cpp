#include "skep/moe/server/expert_classes.hpp"

#include <string>

#include "moe/server/experts.hpp"
// doctest comes last: LibTorch's CHECK must not hide its own
#include <doctest/doctest.h>

using Classes = skep::moe::ExpertClasses<Gated, Touchy>;

TEST_CASE("C9.7: a class is found by its name, the first when none is given") {
  CHECK(Classes::all_names() == std::vector<std::string>{"gated", "touchy"});
  CHECK(Classes::index_of("") == 0);
  CHECK(Classes::index_of("touchy") == 1);
  try {
    (void)Classes::index_of("ffn");
    FAIL("nothing was thrown");
  } catch (const skep::Error& e) {
    CHECK(std::string(e.what()) == "skep: \"ffn\" is no class of experts of this server; it has gated, touchy");
  }
}

TEST_CASE("C1.8: an expert is made with its uid and its options") {
  const skep::moe::BackendOptions options{.expert = {.hidden_dim = 8},
                                          .scheduler = std::make_shared<skep::moe::BatchScheduler>()};
  const auto expert = Classes::make("gated", "gated.3", options);
  CHECK(expert->name() == "gated.3");
  CHECK(expert->class_name() == "Gated");
  CHECK(expert->schema().inputs().size() == 2);
}
