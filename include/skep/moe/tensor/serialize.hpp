// Messages of tensors on their way out: payloads whose segments are the tensors' own storage, whole or cut for a
// stream.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "skep/codec/protobuf.hpp"
#include "skep/core/bytes.hpp"
#include "skep/core/error.hpp"
#include "skep/moe/tensor/codec.hpp"
#include "skep/p2p/payload.hpp"

namespace skep::inline v0::moe {

/// Above so many raw tensor bytes Hivemind's clients use the streaming form of a call.
inline constexpr std::size_t max_unary_tensors = 2 * 1024 * 1024;
/// How much of a tensor goes into one message of a stream, as Hivemind cuts.
inline constexpr std::size_t stream_chunk_size = 4 * 1024 * 1024;

/// The raw, uncompressed bytes of all tensors, by which a caller chooses between a unary and a streaming call.
[[nodiscard]] inline std::size_t raw_size(std::span<const Tensor> tensors) {
  std::size_t total = 0;
  for (const Tensor& tensor : tensors) total += tensor.nbytes();
  return total;
}

namespace detail {
/// Collects bytes of its own and stretches of tensors, then makes one Payload of them: two allocations in all.
class PayloadBuilder {
 public:
  explicit PayloadBuilder(std::vector<Tensor> buffers) : parts_(std::make_shared<Parts>()) {
    parts_->buffers = std::move(buffers);
  }

  [[nodiscard]] Bytes& glue() noexcept { return parts_->glue; }
  void stretch(BytesView bytes) {
    if (bytes.size() < copied_below) {
      append(parts_->glue, bytes);
    } else {
      cuts_.emplace_back(parts_->glue.size(), bytes);
    }
  }
  [[nodiscard]] p2p::Payload build() && {
    const BytesView glue(parts_->glue);
    std::size_t begin = cuts_.empty() ? glue.size() : cuts_.front().first;
    p2p::Payload payload(to_bytes(glue.first(begin)));
    for (const auto& [end, bytes] : cuts_) {
      payload.append(glue.subspan(begin, end - begin), parts_);
      payload.append(bytes, parts_);
      begin = end;
    }
    payload.append(glue.subspan(begin), parts_);
    return payload;
  }

 private:
  struct Parts {
    Bytes glue;
    std::vector<Tensor> buffers;
  };
  static constexpr std::size_t copied_below = 256;  // a segment of its own costs more than copying so little

  std::shared_ptr<Parts> parts_;
  std::vector<std::pair<std::size_t, BytesView>> cuts_;
};

[[nodiscard]] inline BytesView bytes_of_buffer(const Tensor& buffer) {
  return {static_cast<const std::uint8_t*>(buffer.data_ptr()), buffer.nbytes()};
}

/// The buffers of all tensors. Throws Error when a tensor's type does not go with its codec.
[[nodiscard]] inline std::vector<Tensor> encode_all(std::span<const Tensor> tensors,
                                                    std::span<const Compression> compressions) {
  std::vector<Tensor> buffers;
  buffers.reserve(tensors.size());
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    auto buffer = encode(tensors[i], i < compressions.size() ? compressions[i] : Compression::none);
    if (!buffer) {
      throw Error(buffer.error(), "tensor " + std::to_string(i) + " cannot be sent: " + buffer.error().message());
    }
    buffers.push_back(*std::move(buffer));
  }
  return buffers;
}

/// The fields of a Tensor message that follow its buffer.
[[nodiscard]] inline Bytes header_fields(const Tensor& tensor, Compression compression, std::size_t chunks) {
  Bytes out;
  codec::MessageWriter writer(out);
  writer.packed_varints(2, tensor.sizes());
  writer.varint_unless_default(3, tensor.requires_grad() ? 1 : 0);
  writer.text(4, name_of(tensor.scalar_type()));
  writer.varint_unless_default(5, static_cast<std::uint64_t>(compression));
  writer.varint_unless_default(6, chunks);
  return out;
}

/// Appends one part of a tensor: the field `tensors` of a message with `piece` of the buffer and the given fields.
inline void append_part(PayloadBuilder& to, BytesView piece, const Bytes& fields) {
  const std::size_t buffer = piece.empty() ? 0 : codec::field_size(1, piece.size());
  codec::append_field_head(to.glue(), 2, buffer + fields.size());
  if (!piece.empty()) {
    codec::append_field_head(to.glue(), 1, piece.size());
    to.stretch(piece);
  }
  append(to.glue(), fields);
}

inline void append_uid(PayloadBuilder& to, std::string_view uid) {
  if (uid.empty()) return;
  codec::append_field_head(to.glue(), 1, uid.size());
  append(to.glue(), as_bytes(uid));
}
}  // namespace detail

/// An ExpertRequest, or with an empty uid an ExpertResponse. The payload keeps the tensors' storage alive and reads it
/// when it is sent, so their values must not change before.
/// @param compressions  one for each tensor; missing ones are NONE
/// Throws Error when a tensor's type does not go with its codec.
[[nodiscard]] inline p2p::Payload tensor_message(std::string_view uid, std::span<const Tensor> tensors,
                                                 std::span<const Compression> compressions = {}) {
  const std::vector<Tensor> buffers = detail::encode_all(tensors, compressions);
  detail::PayloadBuilder builder(buffers);
  detail::append_uid(builder, uid);
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const Compression compression = i < compressions.size() ? compressions[i] : Compression::none;
    detail::append_part(builder, detail::bytes_of_buffer(buffers[i]),
                        detail::header_fields(tensors[i], compression, 0));
  }
  return std::move(builder).build();
}

/// The same as messages of a stream, each with one piece of at most `chunk_size` bytes and, in requests, the uid.
[[nodiscard]] inline std::vector<p2p::Payload> tensor_stream(std::string_view uid, std::span<const Tensor> tensors,
                                                             std::span<const Compression> compressions = {},
                                                             std::size_t chunk_size = stream_chunk_size) {
  const std::vector<Tensor> buffers = detail::encode_all(tensors, compressions);
  std::vector<p2p::Payload> messages;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const Compression compression = i < compressions.size() ? compressions[i] : Compression::none;
    BytesView left = detail::bytes_of_buffer(buffers[i]);
    Bytes fields = detail::header_fields(tensors[i], compression, (left.size() + chunk_size - 1) / chunk_size);
    do {
      const BytesView piece = left.first(std::min(left.size(), chunk_size));
      detail::PayloadBuilder builder({buffers[i]});
      detail::append_uid(builder, uid);
      detail::append_part(builder, piece, fields);
      messages.push_back(std::move(builder).build());
      fields.clear();  // only the first part says what the tensor is
      left = left.subspan(piece.size());
    } while (!left.empty());
  }
  return messages;
}

}  // namespace skep::inline v0::moe
