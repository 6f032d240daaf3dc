#include "skep/moe/server/uid_pattern.hpp"

#include <set>

#include <doctest/doctest.h>

using skep::moe::UidPattern;
using skep::moe::UidSampler;

namespace {
std::string refusal(std::string_view pattern) {
  try {
    const UidPattern parsed(pattern);
  } catch (const skep::Error& e) {
    return e.what();
  }
  return "";
}
}  // namespace

TEST_CASE("C1.14 a pattern stands for uids") {
  const UidPattern grid("ffn.[0:4].[2:5]");
  CHECK(grid.count() == 12);
  CHECK(grid.uid(0) == "ffn.0.2");
  CHECK(grid.uid(1) == "ffn.0.3");
  CHECK(grid.uid(11) == "ffn.3.4");
  CHECK(UidPattern("ffn.7").count() == 1);
  CHECK(UidPattern("ffn.7.[0:2]").uid(1) == "ffn.7.1");
  CHECK(UidPattern("a.[0:2147483647].[0:2147483647].[0:2147483647]").count() ==
        std::numeric_limits<std::uint64_t>::max());
}

TEST_CASE("C1.14 a bad block is named with its pattern") {
  CHECK(refusal("ffn.[0:x]") ==
        "skep: \"ffn.[0:x]\" is not an expert pattern: its block \"[0:x]\" is not a range of two whole numbers");
  CHECK(refusal("ffn.[0-4]") ==
        "skep: \"ffn.[0-4]\" is not an expert pattern: its block \"[0-4]\" is neither a fixed part nor a range "
        "[from:to]");
  CHECK(refusal("ffn.[4:4]").ends_with("its block \"[4:4]\" is an empty range"));
  CHECK(refusal("ffn.4]").ends_with("is neither a fixed part nor a range [from:to]"));
  CHECK(refusal("ffn..[0:4]").ends_with("one of its blocks is empty"));
  CHECK(refusal("ffn").ends_with("it must be a name without dots, then coordinates: \"name.[0:4].[0:4]\""));
  CHECK(refusal("[0:4].ffn").size() > 0);
  CHECK(refusal("ffn.[-1:4]").ends_with("is not a range of two whole numbers"));
}

TEST_CASE("C1.15 uids are drawn without repeats, from a small pattern all of them") {
  UidSampler sampler(UidPattern("ffn.[0:4].[0:4]"), 4, skep::Random(1));
  std::set<std::string> all;
  for (;;) {
    const auto some = sampler.draw(3);
    if (some.empty()) break;
    for (const auto& uid : some) CHECK(all.insert(uid).second);
  }
  CHECK(all.size() == 16);
}

TEST_CASE("C1.15 from a large pattern it gives up after ten attempts for each uid") {
  UidSampler sampler(UidPattern("ffn.[0:1000].[0:1000]"), 2, skep::Random(1));
  CHECK(sampler.draw(2).size() == 2);
  std::size_t more = 0;
  for (std::size_t n = 1; n > 0; more += n) n = sampler.draw(5).size();
  CHECK(more == 18);
}

TEST_CASE("C1.14 without a pattern experts are numbered") {
  auto sampler = UidSampler::without_pattern(2);
  CHECK(sampler.draw(3) == std::vector<std::string>{"expert.0", "expert.1", "expert.2"});
  CHECK(sampler.draw(100).size() == 17);
}

TEST_CASE("a pattern includes the uids that it stands for and no others") {
  const UidPattern pattern("ffn.[1:4].7");
  for (const char* uid : {"ffn.1.7", "ffn.3.7"}) CHECK(pattern.includes(uid));
  for (const char* uid :
       {"ffn.0.7", "ffn.4.7", "ffn.1", "ffn.1.8", "ffn.1.7.0", "ff.1.7", "ffn.01.7", "ffn.1.7.", ""}) {
    CAPTURE(uid);
    CHECK_FALSE(pattern.includes(uid));
  }
}
