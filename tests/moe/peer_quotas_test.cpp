#include "skep/moe/peer_quotas.hpp"

#include "support/experts.hpp"
// doctest comes last
#include <doctest/doctest.h>

using namespace skep;
using moe::PeerQuotas;

TEST_CASE("H-36: a peer has so many requests and bytes at once, whatever others have") {
  const auto quotas = std::make_shared<PeerQuotas>(moe::PeerQuotaOptions{.requests = 2, .bytes = 100});
  auto first = quotas->admit(test::peer(1));
  auto second = quotas->admit(test::peer(1));
  REQUIRE(first);
  REQUIRE(second);
  CHECK_FALSE(quotas->admit(test::peer(1)));
  CHECK(first->take(60));
  CHECK_FALSE(second->take(41));
  CHECK(second->take(40));
  CHECK_FALSE(first->take(1));

  auto other = quotas->admit(test::peer(2));
  REQUIRE(other);
  CHECK(other->take(100));
  CHECK(quotas->requests() == 3);
  CHECK(quotas->peers() == 2);

  first.reset();
  CHECK(second->take(60));
  CHECK(quotas->admit(test::peer(1)));
  second.reset();
  other.reset();
  CHECK(quotas->requests() == 0);
  CHECK(quotas->peers() == 0);
  CHECK_FALSE(std::make_shared<PeerQuotas>(moe::PeerQuotaOptions{.requests = 0})->admit(test::peer(1)));
}
