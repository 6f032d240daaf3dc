// The authorization fields of Hivemind's DHT messages, absent unless an application installs an authorizer.
#pragma once

#include <optional>
#include <string>

#include "skep/codec/protobuf.hpp"
#include "skep/core/bytes.hpp"
#include "skep/core/result.hpp"

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

}  // namespace skep::inline v0::codec
