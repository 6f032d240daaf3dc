#include "skep/moe/uid.hpp"

#include <ostream>

#include <doctest/doctest.h>

namespace moe = skep::moe;

TEST_CASE("B1.1 a uid is a name without dots and one or more coordinates") {
  for (const char* good : {"expert.1", "ffn.0", "ffn.0.0", "e.1.2.3.4.5", "\xd1\x84.7", "a::b.10", " spaced name.3",
                           "0.1", "ffn.2147483647", "line\nbreak.1"}) {
    CAPTURE(good);
    CHECK(moe::is_valid_uid(good));
    CHECK(moe::is_valid_prefix(std::string(good) + "."));
  }
  for (const char* bad : {"",     ".",     "e1",     "expert", "0",     "expert.",      "expert.1.",
                          ".1",   "e..1",  "e.1..2", "e.01",   "e.00",  "e.-1",         "e.+1",
                          "e.1 ", "e.1\n", "e. 1",   "e.1a",   "e.x.1", "e.2147483648", "e.99999999999999999999"}) {
    CAPTURE(bad);
    CHECK_FALSE(moe::is_valid_uid(bad));
  }
}

TEST_CASE("B1.2 a prefix is a name, any number of coordinates and a dot") {
  for (const char* good : {"expert.", "expert.1.", "e.1.2.3.", "a::b.", "0."}) {
    CAPTURE(good);
    CHECK(moe::is_valid_prefix(good));
  }
  for (const char* bad : {"", ".", "expert", "expert.1", "expert..", "e.01.", "e.x.", ".1.", "e.1.\n"}) {
    CAPTURE(bad);
    CHECK_FALSE(moe::is_valid_prefix(bad));
  }
}

TEST_CASE("B1.3 a uid comes apart before its last coordinate") {
  CHECK(*moe::split_uid("ffn.3.5") == moe::UidParts{"ffn.3.", 5});
  CHECK(*moe::split_uid("ffn.3.5.") == moe::UidParts{"ffn.3.", 5});
  CHECK(*moe::split_uid("ffn.3") == moe::UidParts{"ffn.", 3});
  CHECK(moe::split_uid("ffn").error() == skep::errc::invalid_argument);
  CHECK(moe::split_uid("ffn.").error() == skep::errc::invalid_argument);
  CHECK(moe::split_uid("...").error() == skep::errc::invalid_argument);
}

TEST_CASE("B1.4 constants") {
  CHECK(moe::uid_delimiter == '.');
  CHECK(moe::flat_expert == -1);
}

TEST_CASE("coordinates are read in order") {
  CHECK(*moe::coordinates_of("e.1.20.3") == std::vector<int>{1, 20, 3});
  CHECK(*moe::coordinates_of("e.1.20.") == std::vector<int>{1, 20});
  CHECK(moe::coordinates_of("e.")->empty());
  CHECK(moe::coordinates_of("e.x").error() == skep::errc::invalid_argument);
  CHECK(moe::extend_prefix("e.", 0) == "e.0.");
  CHECK(moe::extend_prefix("e.1.", 2147483647) == "e.1.2147483647.");
}

TEST_CASE("C2.2 the dictionary entries of an expert, the bare name not among them") {
  using Entries = std::vector<moe::PrefixEntry>;
  CHECK(*moe::prefix_entries("expert.5.7") == Entries{{"expert.5.", 7}});
  CHECK(*moe::prefix_entries("expert.5.7.9") == Entries{{"expert.5.7.", 9}, {"expert.5.", 7}});
  CHECK(*moe::prefix_entries("expert.3") == Entries{{"expert.3.", -1}});
  CHECK(moe::prefix_entries("expert.3.").error() == skep::errc::invalid_argument);
  CHECK(moe::prefix_entries("expert").error() == skep::errc::invalid_argument);
}

TEST_CASE("B1.4 an expert is its uid and its peer, wherever that is said to be reached") {
  const moe::ExpertInfo plain{"ffn.3", {}};
  const moe::ExpertInfo placed{"ffn.3", {}, {*skep::p2p::Multiaddr::from_text("/ip4/192.0.2.5/tcp/31337")}};
  CHECK(plain.addresses.empty());
  CHECK((plain == placed));
  CHECK_FALSE((plain < placed));
  CHECK((plain < moe::ExpertInfo{"ffn.4", {}}));
}
