// Messages of tensors on their way in: a sink that lands each buffer in its final storage, whole or chunk by chunk.
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
#include "skep/core/varint.hpp"
#include "skep/moe/tensor/compression.hpp"
#include "skep/p2p/payload.hpp"

namespace skep::inline v0::moe {

/// What bounds a message before anything is allocated for it.
struct TensorLimits {
  std::size_t message = 8 * 1024 * 1024;  ///< bytes of one message; a stream has many
  std::size_t total = 256 * 1024 * 1024;  ///< bytes of all buffers together, over all messages of a stream
  std::size_t tensors = 256;              ///< tensors in one request or response
  std::size_t metadata = 64 * 1024;       ///< bytes of everything else: uid, metadata, unknown fields
};

/// Receives ExpertRequest and ExpertResponse messages (wire: field 1 uid, 2 tensors, 3 metadata), one of a unary call
/// or all of a stream; feed it by the BodySink protocol in pieces of any size. A buffer comes before the header that
/// describes it, so its storage is allocated by its announced length, and a tensor's further chunks go where the first
/// one's header says.
///
/// What is wrong with a message does not end the receiving: the rest is skipped without being kept, and `refusal()`
/// says why, so that the peer can be told in an answer. Only a message above `TensorLimits::message` ends it.
/// Not thread-safe; belongs to one call.
class TensorSink final : public p2p::AnyBodySink {
 public:
  /// Judges a tensor by its header, before storage for more than its first chunk is allocated; a sentence refuses the
  /// whole message. The uid is known by then when the peer writes the fields in order, as all do.
  using Check = std::function<std::optional<std::string>(std::string_view uid, std::size_t index, const TensorHeader&)>;
  /// How many bytes the buffer of the tensor at `index` will have, where the caller knows; 0 where not. Saves a copy of
  /// the first chunk.
  using SizeHint = std::function<std::size_t(std::size_t index)>;

  explicit TensorSink(TensorLimits limits = {}, Check check = {}, SizeHint size_hint = {})
      : limits_(limits), check_(std::move(check)), size_hint_(std::move(size_hint)) {}

  [[nodiscard]] std::error_code start(std::size_t size) override {
    if (size > limits_.message) return make_error_code(errc::limit_exceeded);
    message_left_ = size;
    state_ = error_ ? State::skip : State::tag;
    in_tensor_ = false;
    finished_message_ = false;
    number_.clear();
    fields_.clear();
    ++messages_;
    if (size == 0) finish_message();
    return {};
  }
  [[nodiscard]] MutableBytes destination() override {
    if (state_ == State::buffer) return current_destination();
    if (state_ == State::skip) window_.resize(skip_window);
    return MutableBytes(window_).first(std::min(window_.size(), message_left_));
  }
  [[nodiscard]] std::error_code filled(std::size_t n) override {
    if (state_ == State::buffer) {
      advance_buffer(n);
    } else {
      BytesView piece = BytesView(window_).first(n);
      while (!piece.empty()) piece = consume(piece);
    }
    if (message_left_ == 0 && !finished_message_) finish_message();
    return {};
  }

  /// The expert's uid; empty in responses.
  [[nodiscard]] const std::string& uid() const noexcept { return uid_; }
  [[nodiscard]] const Bytes& metadata() const noexcept { return metadata_; }
  /// How many messages were begun.
  [[nodiscard]] std::size_t messages() const noexcept { return messages_; }
  /// Why the message is refused, one sentence; empty while nothing is wrong.
  [[nodiscard]] const std::string& refusal() const noexcept { return refusal_; }
  [[nodiscard]] std::error_code error() const noexcept { return error_; }

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
  /// Where the parser stands: before a field's tag, in the varint of a length, copying a small field, in a buffer, or
  /// skipping what will not be kept.
  enum class State : std::uint8_t { tag, length, varint, copy, buffer, skip };

  struct Arrival {
    Tensor storage;  // uint8, 64-byte aligned
    std::size_t filled = 0;
    std::size_t expected = 0;
    bool described = false;
    TensorHeader header;

    [[nodiscard]] bool complete() const noexcept { return described && filled == expected; }
  };

  static constexpr std::size_t max_header = 1024;  // bytes of a tensor's fields besides its buffer
  static constexpr std::size_t head_window = 64;   // how much of a buffer may come along with the head before it
  static constexpr std::size_t skip_window = 16 * 1024;

  [[nodiscard]] MutableBytes current_destination() {
    Arrival& arrival = arrivals_.back();
    return {static_cast<std::uint8_t*>(arrival.storage.data_ptr()) + arrival.filled, pending_};
  }

  void advance_buffer(std::size_t n) {
    arrivals_.back().filled += n;
    take_bytes(n);
    pending_ -= n;
    if (pending_ == 0) end_field();
  }

  void take_bytes(std::size_t n) {
    message_left_ -= n;
    if (in_tensor_) tensor_left_ -= n;
  }

  /// Takes what belongs to the present state from the front of `piece`; returns the rest.
  [[nodiscard]] BytesView consume(BytesView piece) {
    if (state_ == State::skip) {
      message_left_ -= piece.size();
      return {};
    }
    if (state_ == State::buffer || state_ == State::copy) {
      const std::size_t n = std::min(pending_, piece.size());
      if (state_ == State::buffer) {
        std::memcpy(current_destination().data(), piece.data(), n);
        advance_buffer(n);
      } else {
        append(fields_of_level(), piece.first(n));
        take_bytes(n);
        pending_ -= n;
        if (pending_ == 0) end_field();
      }
      return piece.subspan(n);
    }
    const std::uint8_t byte = piece.front();
    take_bytes(1);
    number_.push_back(byte);
    if (byte >= 0x80) {
      if (number_.size() >= max_varint_size || level_left() == 0) refuse_malformed();
    } else {
      end_number();
    }
    return piece.subspan(1);
  }

  void end_number() {
    std::uint64_t value = 0;  // protobuf allows padded varints
    for (std::size_t i = 0; i < number_.size(); ++i) value |= static_cast<std::uint64_t>(number_[i] & 0x7fU) << (7 * i);
    if (state_ == State::tag) tag_ = value;
    if (!opens_something()) append(fields_of_level(), number_);
    number_.clear();
    switch (state_) {
      case State::tag: begin_field(); return;
      case State::varint: end_field(); return;
      case State::length: begin_contents(value); return;
      case State::copy:
      case State::buffer:
      case State::skip: return;
    }
  }

  void begin_field() {
    switch (tag_ & 7) {
      case 0: state_ = State::varint; break;
      case 1: copy(8); return;
      case 2: state_ = State::length; break;
      case 5: copy(4); return;
      default: refuse_malformed(); return;
    }
    if (level_left() == 0) refuse_malformed();
  }

  /// True for the fields that are not collected: a tensor in the message, the buffer in a tensor.
  [[nodiscard]] bool opens_something() const noexcept { return tag_ == codec::bytes_field(in_tensor_ ? 1 : 2); }

  void begin_contents(std::uint64_t size) {
    if (size > level_left()) return refuse_malformed();
    if (!opens_something()) return copy(static_cast<std::size_t>(size));
    if (in_tensor_) return begin_buffer(static_cast<std::size_t>(size));
    read_fields();
    if (state_ == State::skip) return;
    in_tensor_ = true;
    tensor_left_ = static_cast<std::size_t>(size);
    tensor_fields_.clear();
    part_ = Part::no_buffer;
    state_ = State::tag;
    if (size == 0) end_field();
  }

  void copy(std::size_t size) {
    if (size > level_left()) return refuse_malformed();
    if (fields_of_level().size() + size > (in_tensor_ ? max_header : limits_.metadata)) {
      return refuse(make_error_code(errc::limit_exceeded), "the message's fields are too long");
    }
    pending_ = size;
    state_ = State::copy;
    if (size == 0) end_field();
  }

  void begin_buffer(std::size_t size) {
    if (part_ != Part::no_buffer) return refuse_malformed();
    if (!arrivals_.empty() && !arrivals_.back().complete()) {
      part_ = Part::continuation;
      if (size > arrivals_.back().expected - arrivals_.back().filled) return refuse_tensor(tensor_errc::wrong_size);
    } else {
      part_ = Part::first;
      const std::size_t hint = size_hint_ ? size_hint_(arrivals_.size()) : 0;
      if (!add_arrival(std::max(size, hint))) return;
    }
    pending_ = size;
    state_ = State::buffer;
    if (size == 0) end_field();
  }

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
    if (bytes <= limits_.total - total_) {
      total_ += bytes;
      return true;
    }
    refuse(make_error_code(errc::limit_exceeded),
           "its tensors are larger than the limit of " + std::to_string(limits_.total) + " bytes");
    return false;
  }

  /// After a field of the present level, and after each tensor that ends with it.
  void end_field() {
    state_ = State::tag;
    if (in_tensor_ && tensor_left_ == 0) {
      end_part();
      in_tensor_ = false;
    }
  }

  /// The end of one Tensor message: a whole tensor, the first chunk of one, or a further chunk.
  void end_part() {
    TensorHeader header;
    bool has_dtype = false;
    if (const auto read = read_header(header, has_dtype); !read) return refuse_tensor(read.error());
    if (!has_dtype) {
      if (part_ == Part::first) refuse_tensor(tensor_errc::header_missing);
      return;
    }
    if (part_ == Part::continuation) return refuse_tensor(tensor_errc::incomplete);
    if (part_ == Part::no_buffer) {
      if (!arrivals_.empty() && !arrivals_.back().complete()) return refuse_tensor(tensor_errc::incomplete);
      if (!add_arrival(0)) return;
    }
    describe_arrival(std::move(header));
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

  [[nodiscard]] Result<void> read_header(TensorHeader& header, bool& has_dtype) const {
    return codec::read_fields(tensor_fields_, [&](codec::FieldReader& field) -> Result<void> {
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
          return supported(header.compression);
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

  /// Reads the small fields of the message collected so far.
  void read_fields() {
    std::optional<std::string> uid;
    const auto read = codec::read_fields(fields_, [&](codec::FieldReader& field) -> Result<void> {
      switch (field.tag_and_type()) {
        case codec::bytes_field(1): uid = codec::text_of(field); return {};
        case codec::bytes_field(3): metadata_ = codec::bytes_of(field); return {};
        default: field.skip(); return {};
      }
    });
    fields_.clear();
    if (!read) return refuse_malformed();
    if (!uid) return;
    if (messages_ > 1 && *uid != uid_) {
      return refuse(make_error_code(errc::invalid_argument), "Expert uids differ in one request");
    }
    uid_ = *std::move(uid);
  }

  void finish_message() {
    finished_message_ = true;
    if (state_ == State::skip) return;
    if (state_ != State::tag || in_tensor_ || !number_.empty()) return refuse_malformed();
    read_fields();
  }

  [[nodiscard]] std::size_t level_left() const noexcept { return in_tensor_ ? tensor_left_ : message_left_; }
  [[nodiscard]] Bytes& fields_of_level() noexcept { return in_tensor_ ? tensor_fields_ : fields_; }

  void refuse(std::error_code error, std::string sentence) {
    state_ = State::skip;
    if (error_) return;
    error_ = error;
    refusal_ = std::move(sentence);
    arrivals_.clear();
  }
  void refuse_tensor(std::error_code error) {
    const std::size_t index = arrivals_.empty() ? 0 : arrivals_.size() - 1;
    refuse(error, "tensor " + std::to_string(index) + ": " + error.message());
  }
  void refuse_malformed() { refuse(make_error_code(errc::malformed), "the message is not a protobuf of tensors"); }

  TensorLimits limits_;
  Check check_;
  SizeHint size_hint_;

  // the parser
  enum class Part : std::uint8_t { no_buffer, first, continuation };
  State state_ = State::tag;
  Part part_ = Part::no_buffer;
  bool in_tensor_ = false;
  bool finished_message_ = false;
  std::size_t message_left_ = 0;
  std::size_t tensor_left_ = 0;
  std::size_t pending_ = 0;  // bytes of a copied field or buffer that are still to come
  std::uint64_t tag_ = 0;
  Bytes number_;                       // the varint being read
  Bytes fields_;                       // the message's fields but the tensors
  Bytes tensor_fields_;                // the tensor's fields but the buffer
  Bytes window_ = Bytes(head_window);  // heads are read through it; what belongs to a buffer is moved on

  // what came of it
  std::size_t messages_ = 0;
  std::size_t total_ = 0;
  std::string uid_;
  Bytes metadata_;
  std::vector<Arrival> arrivals_;
  std::error_code error_;
  std::string refusal_;
};

static_assert(p2p::BodySink<TensorSink>);

}  // namespace skep::inline v0::moe
