// Access tokens as the authorities of Hivemind's moderated swarms write them: who may take part, with which key, how
// long.
#pragma once

#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "skep/async/awaitable.hpp"
#include "skep/codec/auth_messages.hpp"
#include "skep/core/bytes.hpp"
#include "skep/core/time.hpp"
#include "skep/crypto/base64.hpp"
#include "skep/crypto/rsa.hpp"
#include "skep/crypto/rsa_public_key.hpp"

namespace skep::inline v0::dht {

using codec::AccessToken;

/// A moment as Python's `str(datetime)` writes it: "2026-11-25 18:40:00.250000", in UTC.
[[nodiscard]] inline std::string to_iso_text(WallTime time) {
  using namespace std::chrono;
  const sys_time<microseconds> at(microseconds(std::llround(time.seconds * 1e6)));
  const auto day = floor<days>(at);
  const year_month_day date(day);
  const hh_mm_ss clock(at - day);
  char text[96];
  const int size = std::snprintf(text, sizeof text, "%04d-%02u-%02u %02d:%02d:%02d", static_cast<int>(date.year()),
                                 static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                                 static_cast<int>(clock.hours().count()), static_cast<int>(clock.minutes().count()),
                                 static_cast<int>(clock.seconds().count()));
  std::string out(text, static_cast<std::size_t>(size));
  if (const auto rest = clock.subseconds().count(); rest != 0) {
    std::snprintf(text, sizeof text, ".%06d", static_cast<int>(rest));
    out += text;
  }
  return out;
}

/// Reads such a moment, seconds and their fraction optional, 'T' or ' ' between date and time. @return nothing for
/// anything else, a time zone included
[[nodiscard]] inline std::optional<WallTime> from_iso_text(std::string_view text) {
  const auto number = [&text](std::size_t digits) -> std::optional<int> {
    int value = 0;
    const auto piece = text.substr(0, digits);
    const auto [end, error] = std::from_chars(piece.data(), piece.data() + piece.size(), value);
    if (piece.size() != digits || error != std::errc() || end != piece.data() + digits || value < 0)
      return std::nullopt;
    text.remove_prefix(digits);
    return value;
  };
  const auto sign = [&text](std::string_view one_of) {
    if (text.empty() || one_of.find(text.front()) == std::string_view::npos) return false;
    text.remove_prefix(1);
    return true;
  };
  const auto year = number(4);
  const auto month = sign("-") ? number(2) : std::nullopt;
  const auto day = sign("-") ? number(2) : std::nullopt;
  const auto hour = sign(" T") ? number(2) : std::nullopt;
  const auto minute = sign(":") ? number(2) : std::nullopt;
  if (!year || !month || !day || !hour || !minute) return std::nullopt;
  double seconds = 0;
  if (sign(":")) {
    const auto whole = number(2);
    if (!whole || *whole > 59) return std::nullopt;
    seconds = *whole;
    if (sign(".")) {
      const auto micro = number(6);
      if (!micro) return std::nullopt;
      seconds += *micro / 1e6;
    }
  }
  using namespace std::chrono;
  const year_month_day date{std::chrono::year(*year), std::chrono::month(static_cast<unsigned>(*month)),
                            std::chrono::day(static_cast<unsigned>(*day))};
  if (!text.empty() || !date.ok() || *hour > 23 || *minute > 59) return std::nullopt;
  const auto days = sys_days(date).time_since_epoch();
  return WallTime{duration<double>(days).count() + *hour * 3600.0 + *minute * 60.0 + seconds};
}

namespace detail {

/// What an authority signs: Python's f"{username} {public_key} {expiration_time}", where the key is a bytes object.
[[nodiscard]] inline Bytes token_bytes(const AccessToken& token) {
  return to_bytes(token.username + " b'" + std::string(as_text(token.public_key)) + "' " + token.expiration_time);
}

}  // namespace detail

/// What an authority gives to a user. @param public_key  the user's, in OpenSSH's text
[[nodiscard]] inline AccessToken issue_token(const crypto::RsaPrivateKey& authority, std::string username,
                                             std::string_view public_key, WallTime expiration) {
  AccessToken token{std::move(username), to_bytes(public_key), to_iso_text(expiration), {}};
  token.signature = to_bytes(crypto::base64(authority.sign_pss(detail::token_bytes(token))));
  return token;
}

/// Whether the authority gave this token and it is not over.
[[nodiscard]] inline bool is_token_valid(const AccessToken& token, const crypto::RsaPublicKey& authority,
                                         WallTime now) {
  const auto expiration = from_iso_text(token.expiration_time);
  if (!expiration || *expiration < now) return false;
  const auto signature = crypto::from_base64(as_text(token.signature));
  return signature && authority.verify_pss(detail::token_bytes(token), *signature);
}

/// The authority of a swarm as its members see it, for `TokenAuthorizer`: its public key, and how to ask it.
struct SignedTokens {
  using Ask = std::function<awaitable<AccessToken>(std::string public_key)>;

  crypto::RsaPublicKey authority;
  Ask ask;  ///< brings a token for one's own public key, such as over HTTPS

  [[nodiscard]] awaitable<AccessToken> get_token(std::string public_key) const { return ask(std::move(public_key)); }
  [[nodiscard]] bool is_token_valid(const AccessToken& token, WallTime now) const {
    return dht::is_token_valid(token, authority, now);
  }
  /// A minute before it is over: messages signed with it are still under way.
  [[nodiscard]] bool does_token_need_refreshing(const AccessToken& token, WallTime now) const {
    const auto expiration = from_iso_text(token.expiration_time);
    return !expiration || *expiration < now + 1min;
  }
};

}  // namespace skep::inline v0::dht
