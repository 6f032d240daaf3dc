// The failures that are p2p's own: what a peer did wrong, or could not do, on a connection.
#pragma once

#include <string_view>
#include <system_error>

#include "skep/core/error.hpp"

namespace skep::inline v0::p2p {

/// What can go wrong between two peers, beyond `skep::errc`.
enum class errc {
  protocol_not_supported = 1,  ///< The peer speaks none of the protocols that were proposed.
  negotiation_failed,          ///< A multistream-select message that the protocol does not allow.
  handshake_failed,            ///< A Noise handshake message that the protocol does not allow.
  bad_identity,                ///< The peer's identity key or its signature over the session is not valid.
  wrong_peer,                  ///< The peer is not the one that was dialled.
  not_authentic,               ///< A sealed record was altered or does not belong to this connection.
  session_exhausted,           ///< The connection has used up its nonces.
  protocol_error,              ///< The peer broke the rules of the multiplexer.
  window_exceeded,             ///< The peer sent more than the flow-control window allows.
  stream_reset,                ///< The peer gave up the stream.
  too_many_streams,            ///< The limit of open streams is reached.
  too_many_connections,        ///< The limit of connections is reached.
  going_away,                  ///< The peer accepts no more streams on this connection.
};

[[nodiscard]] constexpr std::string_view describe(errc e) noexcept {
  switch (e) {
    case errc::protocol_not_supported: return "the peer does not support the protocol";
    case errc::negotiation_failed: return "the peer broke the rules of multistream-select";
    case errc::handshake_failed: return "the peer broke the rules of the Noise handshake";
    case errc::bad_identity: return "the peer's identity key or signature is not valid";
    case errc::wrong_peer: return "the peer is not the one that was dialled";
    case errc::not_authentic: return "a record of the connection is not authentic";
    case errc::session_exhausted: return "the connection has used up its nonces";
    case errc::protocol_error: return "the peer broke the rules of yamux";
    case errc::window_exceeded: return "the peer sent more than the stream's window";
    case errc::stream_reset: return "the peer reset the stream";
    case errc::too_many_streams: return "too many streams";
    case errc::too_many_connections: return "too many connections";
    case errc::going_away: return "the peer accepts no more streams";
  }
  return "unknown error";
}
[[nodiscard]] constexpr const char* category_name(errc) noexcept { return "skep.p2p"; }
[[nodiscard]] inline std::error_code make_error_code(errc e) noexcept { return make_enum_error(e); }

}  // namespace skep::inline v0::p2p

template <>
struct std::is_error_code_enum<skep::p2p::errc> : std::true_type {};
