// The messages by which an expert is asked what it is. Those that carry tensors are streamed by moe/tensor instead.
#pragma once

#include <string>

#include "skep/codec/protobuf.hpp"
#include "skep/core/bytes.hpp"
#include "skep/core/result.hpp"

namespace skep::inline v0::codec {

/// The request of ConnectionHandler.rpc_info.
struct ExpertUID {
  std::string uid;
  Bytes metadata = {};  ///< moe::RequestMetadata; skep's own, at the number that it has in an ExpertRequest

  [[nodiscard]] Bytes encode() const { return encode_message(*this); }
  void write(MessageWriter& out) const {
    out.bytes_unless_default(1, as_bytes(uid));
    out.bytes_unless_default(3, metadata);
  }
  [[nodiscard]] Result<void> merge(BytesView bytes) {
    return read_fields(bytes, [this](FieldReader& field) -> Result<void> {
      switch (field.tag_and_type()) {
        case bytes_field(1): uid = text_of(field); return {};
        case bytes_field(3): metadata = bytes_of(field); return {};
        default: field.skip(); return {};
      }
    });
  }
  [[nodiscard]] static Result<ExpertUID> decode(BytesView bytes) { return decode_message<ExpertUID>(bytes); }
  friend bool operator==(const ExpertUID&, const ExpertUID&) = default;
};

/// The answer of ConnectionHandler.rpc_info.
struct ExpertInfo {
  Bytes serialized_info;  ///< MessagePack of the expert's schema

  [[nodiscard]] Bytes encode() const { return encode_message(*this); }
  void write(MessageWriter& out) const { out.bytes_unless_default(1, serialized_info); }
  [[nodiscard]] Result<void> merge(BytesView bytes) {
    return read_fields(bytes, [this](FieldReader& field) -> Result<void> {
      if (field.tag_and_type() == bytes_field(1)) {
        serialized_info = bytes_of(field);
      } else {
        field.skip();
      }
      return {};
    });
  }
  [[nodiscard]] static Result<ExpertInfo> decode(BytesView bytes) { return decode_message<ExpertInfo>(bytes); }
  friend bool operator==(const ExpertInfo&, const ExpertInfo&) = default;
};

}  // namespace skep::inline v0::codec
