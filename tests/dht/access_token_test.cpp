#include "skep/dht/access_token.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace skep;
using crypto::RsaPrivateKey;
using crypto::RsaPublicKey;
using dht::from_iso_text;
using dht::to_iso_text;

TEST_CASE("moments are written and read as Python does") {
  CHECK(to_iso_text({0}) == "1970-01-01 00:00:00");
  CHECK(to_iso_text({1'795'632'000.25}) == "2026-11-25 18:40:00.250000");
  CHECK(from_iso_text("2026-11-25 18:40:00.250000")->seconds == 1'795'632'000.25);
  CHECK(from_iso_text("2026-11-25T18:40:00")->seconds == 1'795'632'000);
  CHECK(from_iso_text("2026-11-25 18:40")->seconds == 1'795'632'000);
  CHECK(from_iso_text("2024-02-29 00:00:00")->seconds == 1'709'164'800);
  for (const char* wrong :
       {"", "tomorrow", "2026-11-25", "2026-02-29 00:00:00", "2026-11-25 24:00:00", "2026-11-25 18:60:00",
        "2026-11-25 18:40:60", "2026-11-25 18:40:00.25", "2026-11-25 18:40:00+00:00", "2026-11-25 18:40:00 ",
        "2026-1-025 18:40:00", "-026-11-25 18:40:00", "2026-11-25 18:40:-1"}) {
    CAPTURE(std::string(wrong));
    CHECK_FALSE(from_iso_text(wrong));
  }
}

TEST_CASE("A10.1 a token is valid when the authority signed it, word for word, and until it is over") {
  const RsaPrivateKey authority = RsaPrivateKey::generate();
  const RsaPublicKey known(authority);
  const std::string mine = RsaPublicKey(RsaPrivateKey::process_wide()).to_openssh();
  const WallTime now{1'795'632'000};
  const auto token = dht::issue_token(authority, "ann", mine, now + 10min);
  CHECK(dht::is_token_valid(token, known, now));
  CHECK(dht::is_token_valid(token, known, now + 10min));
  CHECK_FALSE(dht::is_token_valid(token, known, now + 601s));
  CHECK_FALSE(dht::is_token_valid(token, RsaPublicKey(RsaPrivateKey::process_wide()), now));
  for (const int field : {0, 1, 2, 3}) {
    CAPTURE(field);
    auto altered = token;
    if (field == 0) altered.username = "bob";
    if (field == 1) altered.public_key.back() ^= 1;
    if (field == 2) altered.expiration_time.back() = '9';
    if (field == 3) altered.signature.front() ^= 1;
    CHECK_FALSE(dht::is_token_valid(altered, known, now));
  }

  const dht::SignedTokens tokens{known, {}};
  CHECK(tokens.is_token_valid(token, now));
  CHECK_FALSE(tokens.does_token_need_refreshing(token, now + 9min));
  CHECK(tokens.does_token_need_refreshing(token, now + 541s));
}
