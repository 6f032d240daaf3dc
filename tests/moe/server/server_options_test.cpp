#include "skep/moe/server/server_options.hpp"

#include <string>

// doctest comes last: LibTorch's CHECK must not hide its own
#include <doctest/doctest.h>

using skep::moe::ServerOptions;
using namespace std::chrono_literals;

namespace {
std::string refusal(const ServerOptions& options) {
  try {
    skep::moe::check(options);
  } catch (const skep::Error& e) {
    return e.what();
  }
  return "";
}
}  // namespace

TEST_CASE("C2.3 a declaration lives for two periods, three seconds at least") {
  CHECK((ServerOptions{}.declaration_life() == 60s));
  CHECK((ServerOptions{.update_period = 1s}.declaration_life() == 3s));
  CHECK((ServerOptions{.expiration = 45s}.declaration_life() == 45s));
}

TEST_CASE("C1.6 what does not fit together is one sentence") {
  CHECK(refusal({.experts = {{.num_experts = 1}}}).empty());
  CHECK(refusal({.experts = {{.expert_uids = {"ffn.0"}}, {.num_experts = 2, .expert_pattern = "ffn.[1:9]"}}}).empty());
  CHECK(refusal({}).starts_with("skep: a server without experts serves nothing"));
  CHECK(refusal({.experts = {{.expert_uids = {"ffn.0"}, .expert_pattern = "ffn.[0:2]"}}}) ==
        "skep: expert_pattern goes with num_experts, not with expert_uids");
  CHECK(refusal({.experts = {{.num_experts = 1, .expert = {.hidden_dim = 0}}}}) ==
        "skep: hidden_dim must be at least 1");
  CHECK(refusal({.experts = {{.expert_cls = "ffn", .num_experts = 1, .make = [](const auto&, const auto&) {
                                return std::shared_ptr<skep::moe::ExpertBackend>();
                              }}}}) == "skep: give either expert_cls or make, but not both");
  CHECK(refusal({.experts = {{.num_experts = 1}}, .update_period = 0s}) ==
        "skep: update_period must be longer than nothing");
  CHECK(refusal({.experts = {{.num_experts = 1}}, .expiration = 30s}).starts_with("skep: expiration must be longer"));
}
