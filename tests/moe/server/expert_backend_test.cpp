#include "skep/moe/server/expert_backend.hpp"

#include "moe/server/experts.hpp"
#include "skep/moe/server/module_backend.hpp"
// doctest comes last: LibTorch's CHECK must not hide its own
#include <doctest/doctest.h>

TEST_CASE("experts of any module are used through one interface") {
  std::vector<std::unique_ptr<skep::moe::ExpertBackend>> experts;
  const skep::moe::BackendOptions options{.expert = {.hidden_dim = 4}};
  experts.push_back(std::make_unique<skep::moe::ModuleBackend<Gated>>("gated.0", options));
  experts.push_back(std::make_unique<skep::moe::ModuleBackend<Keywords>>("keywords.0", options));
  CHECK(experts[0]->name() == "gated.0");
  CHECK(experts[1]->class_name() == "Keywords");
  CHECK(experts[0]->forward_check().size() == 2);
  CHECK(experts[0]->backward_check().size() == 3);
  CHECK(experts[1]->get_pools().size() == 2);
  const auto decoded = skep::moe::ExpertSchema::decode(experts[1]->get_info());
  REQUIRE(decoded);
  CHECK(decoded->keyword_names.size() == 2);
}

TEST_CASE("C4.8 the state of one expert is loaded into another, whatever both are") {
  const skep::moe::BackendOptions options{.expert = {.hidden_dim = 4}};
  std::vector<std::unique_ptr<skep::moe::ExpertBackend>> experts;
  for (const auto* uid : {"gated.0", "gated.1"}) {
    experts.push_back(std::make_unique<skep::moe::ModuleBackend<Gated>>(uid, options));
  }
  const auto x = torch::randn({2, 4});
  (void)experts[0]->backward({x, x, x});
  CHECK_FALSE(at::equal(experts[0]->forward({x, x})[0], experts[1]->forward({x, x})[0]));
  experts[1]->load_state(experts[0]->state());
  CHECK(at::equal(experts[0]->forward({x, x})[0], experts[1]->forward({x, x})[0]));
  CHECK(experts[1]->update_count() == 1);
  CHECK(experts[1]->refused_gradients() == 0);
  CHECK_THROWS_AS(experts[0]->load_state(skep::moe::ExpertState()), skep::Error);
}
