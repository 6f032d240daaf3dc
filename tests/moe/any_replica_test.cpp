#include "skep/moe/any_replica.hpp"

#include <exception>
#include <map>
#include <string>
#include <vector>

#include "skep/sim/network.hpp"
#include "support/experts.hpp"
// doctest comes last
#include <doctest/doctest.h>

using namespace skep;

namespace {

/// Calls servers of which some fail, and notes who was asked.
struct Servers {
  std::map<int, std::exception_ptr> failures;
  std::vector<int> asked = {};
  int looked_up = 0;

  std::string call(moe::Repeat repeat) {
    sim::World world;
    std::string words;
    world.run([&]() -> awaitable<void> {
      sim::Host host(world);
      const auto others = [this]() -> awaitable<std::vector<moe::ExpertInfo>> {
        ++looked_up;
        std::vector<moe::ExpertInfo> all;
        for (std::uint8_t i = 1; i <= 3; ++i) all.push_back({"ffn.3", test::peer(i)});
        co_return all;
      };
      const auto attempt = [this](const moe::ExpertInfo& at) -> awaitable<int> {
        int number = 1;
        while (at.peer_id != test::peer(static_cast<std::uint8_t>(number))) ++number;
        asked.push_back(number);
        if (const auto failure = failures.find(number); failure != failures.end())
          std::rethrow_exception(failure->second);
        co_return number;
      };
      const moe::ExpertInfo expert{"ffn.3", test::peer(1)};
      try {
        words = std::to_string(co_await moe::call_any_replica<int>(host, expert, repeat, others, attempt));
      } catch (const Error& error) {
        words = error.what();
      }
    }());
    return words;
  }
};
template <class E>
std::exception_ptr thrown(E error) {
  return std::make_exception_ptr(std::move(error));
}
const auto unreachable = thrown(Error(errc::unreachable, "cannot reach it"));
const auto broken = thrown(Error(errc::closed, "the connection broke"));
const auto leaving = thrown(RemoteError("expert ffn.3", "skep: this server is leaving, ask another"));

}  // namespace

TEST_CASE("H-28 the others are looked up only when the first server did not begin") {
  Servers good{{}};
  CHECK(good.call(moe::Repeat::harmful) == "1");
  CHECK(good.looked_up == 0);
  Servers moved{{{1, unreachable}}};
  const std::string elsewhere = moved.call(moe::Repeat::harmful);
  CHECK((elsewhere == "2" || elsewhere == "3"));
  CHECK(moved.asked.size() == 2);
  CHECK(moved.looked_up == 1);
}

TEST_CASE("H-28 a request that may have begun is repeated only where that does no harm") {
  Servers trained{{{1, broken}}};
  CHECK(trained.call(moe::Repeat::harmful) == "skep: the connection broke");
  CHECK(trained.asked == std::vector<int>{1});
  Servers computed{{{1, broken}}};
  CHECK(computed.call(moe::Repeat::harmless).size() == 1);
  CHECK(computed.asked.size() == 2);
  Servers failed{{{1, thrown(Error(errc::invalid_argument, "no"))}}};
  CHECK(failed.call(moe::Repeat::harmless) == "skep: no");
}

TEST_CASE("H-28 when every server fails, each was asked once and the first one's words are told") {
  Servers none{{{1, unreachable}, {2, leaving}, {3, broken}}};
  const std::string words = none.call(moe::Repeat::harmless);
  CHECK(words == "skep: cannot reach it; 2 other servers of the same expert failed as well");
  CHECK(none.asked.size() == 3);
}

TEST_CASE("H-28 what was certainly not begun may go elsewhere, nothing else") {
  const auto said = [](std::string_view text) { return moe::never_began(errc::remote, "ffn.3", text); };
  CHECK(moe::never_began(errc::unreachable, "ffn.3", ""));
  CHECK(moe::never_began(p2p::errc::protocol_not_supported, "ffn.3", ""));
  CHECK(said("skep: busy: 64 requests of this peer are in hand, retry in 100 ms"));
  CHECK(said("busy: too many bytes of requests from this peer are in flight"));
  CHECK(said("skep: ffn.3_backward is busy: 1024 tasks wait, retry in 3 ms"));
  CHECK(said("skep: this server is leaving, ask another"));
  CHECK(said("skep: this server has no expert \"ffn.3\""));
  for (const auto code : {errc::timed_out, errc::closed, errc::malformed, errc::cancelled}) {
    CHECK_FALSE(moe::never_began(code, "ffn.3", "busy: "));  // it may have begun, or says so of itself
  }
  CHECK_FALSE(said("KeyError: 'ffn.3'"));
  CHECK_FALSE(said("the device is busy: out of memory"));
}
