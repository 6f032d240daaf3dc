// TensorAssembly: tensors put together from the parts of messages, each in the storage where it stays.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "skep/codec/protobuf.hpp"
#include "skep/core/bytes.hpp"
#include "skep/core/error.hpp"
#include "skep/core/result.hpp"
#include "skep/moe/tensor/codec.hpp"
#include "skep/moe/tensor/tensor_message_parser.hpp"

namespace skep::inline v0::moe {

/// What bounds a message before anything is allocated for it.
struct TensorLimits {
  std::size_t message = 8 * 1024 * 1024;  ///< bytes of one message; a stream has many
  std::size_t total = 256 * 1024 * 1024;  ///< bytes of all tensors over all messages, each as it comes or decoded
  std::size_t tensors = 256;              ///< tensors in one request or response
  std::size_t metadata = 64 * 1024;       ///< bytes of everything else: uid, metadata, unknown fields
};

/// What the parser of a message finds becomes tensors. A buffer comes before the header that describes it, so its
/// storage is allocated by its announced length; a tensor's further chunks go where the first one's header says.
/// What is wrong is kept as a sentence, and everything that came before is dropped.
class TensorAssembly {
 public:
  /// Judges a tensor by its header, before storage for more than its first chunk is allocated; a sentence refuses the
  /// whole message. The uid is known by then when the peer writes the fields in order, as all do.
  using Check = std::function<std::optional<std::string>(std::string_view uid, std::size_t index, const TensorHeader&)>;
  /// How many bytes the buffer of the tensor at `index` will have, where the caller knows; 0 where not. Saves a copy of
  /// the first chunk.
  using SizeHint = std::function<std::size_t(std::size_t index)>;

  /// Asked before so many bytes more are kept, within the limits; a sentence refuses the whole message.
  using Hold = std::function<std::optional<std::string>(std::size_t bytes)>;

  TensorAssembly(TensorLimits limits, Check check, SizeHint size_hint, Hold hold = {})
      : limits_(limits), check_(std::move(check)), size_hint_(std::move(size_hint)), hold_(std::move(hold)) {}

  /// A message begins: the only one of a unary call, or one of a stream.
  void begin_message() noexcept { ++messages_; }

  void on_fields(BytesView fields) {
    std::optional<std::string> uid;
    const auto read = codec::read_fields(fields, [&](codec::FieldReader& field) -> Result<void> {
      switch (field.tag_and_type()) {
        case codec::bytes_field(1): uid = codec::text_of(field); return {};
        case codec::bytes_field(3): metadata_ = codec::bytes_of(field); return {};
        default: field.skip(); return {};
      }
    });
    if (!read) return refuse(read.error(), malformed_message);
    if (!uid) return;
    if (messages_ > 1 && *uid != uid_) {
      return refuse(make_error_code(errc::invalid_argument), "Expert uids differ in one request");
    }
    uid_ = *std::move(uid);
  }

  /// While a tensor is incomplete, a buffer is its next chunk; otherwise a new tensor begins.
  [[nodiscard]] MutableBytes on_buffer(std::size_t size) {
    if (!arrivals_.empty() && !arrivals_.back().complete()) {
      part_ = Part::continuation;
      if (size > arrivals_.back().expected - arrivals_.back().filled) {
        refuse_tensor(tensor_errc::wrong_size);
        return {};
      }
    } else {
      part_ = Part::first;
      const std::size_t hint = size_hint_ ? size_hint_(arrivals_.size()) : 0;
      if (!add_arrival(std::max(size, hint))) return {};
    }
    Arrival& arrival = arrivals_.back();
    const std::size_t begin = std::exchange(arrival.filled, arrival.filled + size);
    return {static_cast<std::uint8_t*>(arrival.storage.data_ptr()) + begin, size};
  }

  /// The end of a whole tensor, of the first chunk of one, or of a further chunk.
  void on_part(BytesView fields) {
    const Part part = std::exchange(part_, Part::no_buffer);
    TensorHeader header;
    bool has_dtype = false;
    if (const auto read = read_header(fields, header, has_dtype); !read) return refuse_tensor(read.error());
    if (!has_dtype) {
      if (part == Part::first) refuse_tensor(tensor_errc::header_missing);
      return;
    }
    if (part == Part::continuation) return refuse_tensor(tensor_errc::incomplete);
    if (part == Part::no_buffer) {
      if (!arrivals_.empty() && !arrivals_.back().complete()) return refuse_tensor(tensor_errc::incomplete);
      if (!add_arrival(0)) return;
    }
    describe_arrival(std::move(header));
  }

  void on_malformed(std::error_code error) {
    refuse(error, error == errc::limit_exceeded ? "the message's fields are too long" : malformed_message);
  }

  /// The expert's uid; empty in responses.
  [[nodiscard]] const std::string& uid() const noexcept { return uid_; }
  [[nodiscard]] const Bytes& metadata() const noexcept { return metadata_; }
  /// How many messages were begun.
  [[nodiscard]] std::size_t messages() const noexcept { return messages_; }
  /// Why the message is refused, one sentence; empty while nothing is wrong.
  [[nodiscard]] const std::string& refusal() const noexcept { return refusal_; }
  [[nodiscard]] std::error_code error() const noexcept { return error_; }
  [[nodiscard]] bool refused() const noexcept { return static_cast<bool>(error_); }

  /// The tensors, after the last message. @return the error to which `refusal()` is the sentence, when one is missing,
  /// incomplete or not decodable.
  [[nodiscard]] Result<std::vector<Tensor>> take() {
    if (!error_ && !arrivals_.empty() && !arrivals_.back().complete()) refuse_tensor(tensor_errc::incomplete);
    std::vector<Tensor> tensors;
    tensors.reserve(arrivals_.size());
    for (std::size_t i = 0; i < arrivals_.size() && !error_; ++i) {
      auto tensor = decode(arrivals_[i].header, arrivals_[i].storage);
      if (!tensor) {
        refuse(tensor.error(), "tensor " + std::to_string(i) + ": " + tensor.error().message());
        break;
      }
      tensors.push_back(*std::move(tensor));
    }
    arrivals_.clear();
    if (error_) return error_;
    return tensors;
  }

 private:
  struct Arrival {
    Tensor storage;  // uint8, 64-byte aligned
    std::size_t filled = 0;
    std::size_t expected = 0;
    bool described = false;
    TensorHeader header;

    [[nodiscard]] bool complete() const noexcept { return described && filled == expected; }
  };

  [[nodiscard]] bool add_arrival(std::size_t capacity) {
    if (arrivals_.size() >= limits_.tensors) {
      refuse(make_error_code(errc::limit_exceeded),
             "more than " + std::to_string(limits_.tensors) + " tensors in one message");
      return false;
    }
    if (!reserve(capacity)) return false;
    Arrival arrival;
    arrival.storage = at::empty({static_cast<std::int64_t>(capacity)}, at::kByte);
    arrivals_.push_back(std::move(arrival));
    return true;
  }

  [[nodiscard]] bool reserve(std::size_t bytes) {
    if (bytes > limits_.total - total_) {
      refuse(make_error_code(errc::limit_exceeded),
             "its tensors are larger than the limit of " + std::to_string(limits_.total) + " bytes");
      return false;
    }
    if (hold_ && bytes > 0) {
      if (auto sentence = hold_(bytes)) {
        refuse(make_error_code(errc::busy), *std::move(sentence));
        return false;
      }
    }
    total_ += bytes;
    return true;
  }

  void describe_arrival(TensorHeader header) {
    const std::size_t index = arrivals_.size() - 1;
    Arrival& arrival = arrivals_.back();
    auto expected = buffer_size(header);
    if (!expected) return refuse_tensor(expected.error());
    if (header.dtype == at::kBFloat16 && header.compression == Compression::none) {
      const bool is_short = is_short_bfloat16(arrival.filled, *expected, header.chunks);
      if (is_short) *expected /= 2;
    }
    if (arrival.filled > *expected) return refuse_tensor(tensor_errc::wrong_size);
    if (check_) {
      if (auto sentence = check_(uid_, index, header)) {
        return refuse(make_error_code(errc::invalid_argument), *std::move(sentence));
      }
    }
    const auto capacity = static_cast<std::size_t>(arrival.storage.numel());
    if (capacity < *expected) {
      if (!reserve(*expected - capacity)) return;
      const Tensor first = std::exchange(arrival.storage, at::empty({static_cast<std::int64_t>(*expected)}, at::kByte));
      if (arrival.filled > 0) std::memcpy(arrival.storage.data_ptr(), first.data_ptr(), arrival.filled);
    } else if (capacity > *expected) {
      arrival.storage = arrival.storage.narrow(0, 0, static_cast<std::int64_t>(*expected));
    }
    const auto decoded = static_cast<std::size_t>(*header.numel()) * at::elementSize(header.dtype);
    if (decoded > *expected && !reserve(decoded - *expected)) return;
    arrival.expected = *expected;
    arrival.header = std::move(header);
    arrival.described = true;
  }

  /// Two bytes an element instead of the usual four: seen from the length of the only chunk, or from how many chunks of
  /// the first one's length there will be.
  [[nodiscard]] static bool is_short_bfloat16(std::size_t first, std::size_t long_size, std::uint32_t chunks) noexcept {
    if (first == 0 || chunks <= 1) return first * 2 == long_size;
    const auto pieces = [first](std::size_t size) { return (size + first - 1) / first; };
    return pieces(long_size) != chunks && pieces(long_size / 2) == chunks;
  }

  [[nodiscard]] static Result<void> read_header(BytesView fields, TensorHeader& header, bool& has_dtype) {
    return codec::read_fields(fields, [&](codec::FieldReader& field) -> Result<void> {
      switch (field.tag_and_type()) {
        case codec::bytes_field(2):
          for (const std::uint64_t extent : field.get_packed_uint64()) {
            if (const auto pushed = push_extent(header, extent); !pushed) return pushed;
          }
          return {};
        case codec::varint_field(2): return push_extent(header, field.get_uint64());
        case codec::varint_field(3): header.requires_grad = codec::bool_of(field); return {};
        case codec::bytes_field(4): {
          const std::string_view name = as_text(codec::view_of(field));
          if (name.empty()) return {};
          const auto dtype = dtype_of_name(name);
          if (!dtype) return dtype.error();
          header.dtype = *dtype;
          has_dtype = true;
          return {};
        }
        case codec::varint_field(5): {
          const auto compression = compression_of_number(field.get_uint64());
          if (!compression) return compression.error();
          header.compression = *compression;
          return {};
        }
        case codec::varint_field(6): header.chunks = static_cast<std::uint32_t>(field.get_uint64()); return {};
        default: field.skip(); return {};
      }
    });
  }
  [[nodiscard]] static Result<void> push_extent(TensorHeader& header, std::uint64_t extent) {
    if (extent > std::numeric_limits<std::uint32_t>::max()) return errc::malformed;
    return codec::push_bounded(header.size, 16, static_cast<std::int64_t>(extent));
  }

  void refuse(std::error_code error, std::string sentence) {
    if (error_) return;
    error_ = error;
    refusal_ = std::move(sentence);
    arrivals_.clear();
  }
  void refuse_tensor(std::error_code error) {
    const std::size_t index = arrivals_.empty() ? 0 : arrivals_.size() - 1;
    refuse(error, "tensor " + std::to_string(index) + ": " + error.message());
  }

  static constexpr const char* malformed_message = "the message is not a protobuf of tensors";
  enum class Part : std::uint8_t { no_buffer, first, continuation };

  TensorLimits limits_;
  Check check_;
  SizeHint size_hint_;
  Hold hold_;
  Part part_ = Part::no_buffer;  // what the present part's buffer is
  std::size_t messages_ = 0;
  std::size_t total_ = 0;
  std::string uid_;
  Bytes metadata_;
  std::vector<Arrival> arrivals_;
  std::error_code error_;
  std::string refusal_;
};

static_assert(TensorMessageReceiver<TensorAssembly>);

}  // namespace skep::inline v0::moe
