// auth_errc: why a request or an answer does not count as one of a moderated swarm's member.
#pragma once

#include <string_view>
#include <system_error>

#include "skep/core/error.hpp"

namespace skep::inline v0::dht {

/// What an authorizer finds wrong with a message.
enum class auth_errc {
  missing = 1,      ///< It has no authorization at all.
  invalid_token,    ///< The access token is not one of this swarm's, or is over.
  bad_signature,    ///< The token's owner did not sign these bytes.
  wrong_recipient,  ///< It was signed for somebody else.
  wrong_caller,     ///< It was signed by somebody else than the peer that sends it.
  wrong_time,       ///< Its clock differs by more than a minute: it is old, or one of the clocks is wrong.
  replayed,         ///< It was here before.
  wrong_nonce,      ///< The answer belongs to another request.
  busy,  ///< So many requests of the last minute are remembered that no further one can be told from a replay.
};

[[nodiscard]] constexpr std::string_view describe(auth_errc e) noexcept {
  switch (e) {
    case auth_errc::missing: return "it carries no authorization, which this swarm asks for";
    case auth_errc::invalid_token: return "the access token is not valid in this swarm, or is over";
    case auth_errc::bad_signature: return "the signature is not by the owner of the access token";
    case auth_errc::wrong_recipient: return "it was signed for another recipient";
    case auth_errc::wrong_caller: return "it was signed for another caller";
    case auth_errc::wrong_time: return "its clock differs by more than a minute; set both by a time server";
    case auth_errc::replayed: return "it was sent before";
    case auth_errc::wrong_nonce: return "it answers another request";
    case auth_errc::busy: return "too many requests a minute to tell them from replays; try again later";
  }
  return "unknown error";
}
[[nodiscard]] constexpr const char* category_name(auth_errc) noexcept { return "skep.auth"; }
[[nodiscard]] inline std::error_code make_error_code(auth_errc e) noexcept { return make_enum_error(e); }

}  // namespace skep::inline v0::dht

template <>
struct std::is_error_code_enum<skep::dht::auth_errc> : std::true_type {};
