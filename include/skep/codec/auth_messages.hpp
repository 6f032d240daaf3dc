// The authorization fields of Hivemind's DHT messages, absent unless an application installs an authorizer.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <utility>

#include "skep/codec/protobuf.hpp"
#include "skep/core/bytes.hpp"
#include "skep/core/result.hpp"
#include "skep/core/varint.hpp"

namespace skep::inline v0::codec {

/// What an authority gave to a user; its meaning is the application's.
struct AccessToken {
  std::string username;
  Bytes public_key;  ///< OpenSSH text
  std::string expiration_time;
  Bytes signature;

  void write(MessageWriter& out) const {
    out.bytes_unless_default(1, as_bytes(username));
    out.bytes_unless_default(2, public_key);
    out.bytes_unless_default(3, as_bytes(expiration_time));
    out.bytes_unless_default(4, signature);
  }
  [[nodiscard]] Result<void> merge(BytesView bytes) {
    return read_fields(bytes, [this](FieldReader& field) -> Result<void> {
      switch (field.tag_and_type()) {
        case bytes_field(1): username = text_of(field); return {};
        case bytes_field(2): public_key = bytes_of(field); return {};
        case bytes_field(3): expiration_time = text_of(field); return {};
        case bytes_field(4): signature = bytes_of(field); return {};
        default: field.skip(); return {};
      }
    });
  }
  friend bool operator==(const AccessToken&, const AccessToken&) = default;
};

/// Signed with everything else of the request, `signature` left empty.
struct RequestAuthInfo {
  std::optional<AccessToken> client_access_token;
  Bytes service_public_key;  ///< empty: any service
  double time = 0;           ///< Unix seconds
  Bytes nonce;
  Bytes signature;

  void write(MessageWriter& out) const;
  [[nodiscard]] Result<void> merge(BytesView bytes);
  friend bool operator==(const RequestAuthInfo&, const RequestAuthInfo&) = default;
};

/// Signed with everything else of the response, `signature` left empty.
struct ResponseAuthInfo {
  std::optional<AccessToken> service_access_token;
  Bytes nonce;  ///< the request's
  Bytes signature;

  void write(MessageWriter& out) const;
  [[nodiscard]] Result<void> merge(BytesView bytes);
  friend bool operator==(const ResponseAuthInfo&, const ResponseAuthInfo&) = default;
};

/// A nested message that may be absent.
template <class Message>
void write_optional(MessageWriter& out, std::uint32_t number, const std::optional<Message>& message) {
  if (message) out.message(number, [&](MessageWriter& nested) { message->write(nested); });
}
template <class Message>
[[nodiscard]] Result<void> merge_optional(std::optional<Message>& message, BytesView bytes) {
  if (!message) message.emplace();
  return message->merge(bytes);
}

inline void RequestAuthInfo::write(MessageWriter& out) const {
  write_optional(out, 1, client_access_token);
  out.bytes_unless_default(2, service_public_key);
  out.real_unless_default(3, time);
  out.bytes_unless_default(4, nonce);
  out.bytes_unless_default(5, signature);
}
inline Result<void> RequestAuthInfo::merge(BytesView bytes) {
  return read_fields(bytes, [this](FieldReader& field) -> Result<void> {
    switch (field.tag_and_type()) {
      case bytes_field(1): return merge_optional(client_access_token, view_of(field));
      case bytes_field(2): service_public_key = bytes_of(field); return {};
      case real_field(3): time = field.get_double(); return {};
      case bytes_field(4): nonce = bytes_of(field); return {};
      case bytes_field(5): signature = bytes_of(field); return {};
      default: field.skip(); return {};
    }
  });
}

inline void ResponseAuthInfo::write(MessageWriter& out) const {
  write_optional(out, 1, service_access_token);
  out.bytes_unless_default(2, nonce);
  out.bytes_unless_default(3, signature);
}
inline Result<void> ResponseAuthInfo::merge(BytesView bytes) {
  return read_fields(bytes, [this](FieldReader& field) -> Result<void> {
    switch (field.tag_and_type()) {
      case bytes_field(1): return merge_optional(service_access_token, view_of(field));
      case bytes_field(2): nonce = bytes_of(field); return {};
      case bytes_field(3): signature = bytes_of(field); return {};
      default: field.skip(); return {};
    }
  });
}

/// A message whose field 1 is its authorization, taken apart.
template <class AuthInfo>
struct AuthorizedMessage {
  AuthInfo auth;
  BytesView rest;  ///< the bytes of all other fields
};

/// Writes an authorization before the other fields of a message: it has the lowest number.
template <class AuthInfo>
[[nodiscard]] Bytes with_auth(const AuthInfo& auth, BytesView rest) {
  Bytes out;
  MessageWriter writer(out);
  writer.message(1, [&](MessageWriter& nested) { auth.write(nested); });
  append(out, rest);
  return out;
}

/// Takes the authorization off a message, whose other fields stay as they are. @return errc::not_found when the message
/// does not begin with one, errc::malformed or errc::truncated for what cannot be read
template <class AuthInfo>
[[nodiscard]] Result<AuthorizedMessage<AuthInfo>> split_auth(BytesView message) {
  if (message.empty() || message.front() != 0x0a) return errc::not_found;
  const auto length = read_varint(message.subspan(1));
  if (!length) return length.error();
  const BytesView after = message.subspan(1 + length->size);
  if (length->value > after.size()) return errc::truncated;
  const auto size = static_cast<std::size_t>(length->value);
  auto auth = decode_message<AuthInfo>(after.first(size));
  if (!auth) return auth.error();
  return AuthorizedMessage<AuthInfo>{*std::move(auth), after.subspan(size)};
}

}  // namespace skep::inline v0::codec
