// Payload and BodySink: how the body of a message leaves from where it lies and lands where it stays.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <memory>
#include <system_error>
#include <utility>
#include <vector>

#include "skep/core/bytes.hpp"
#include "skep/core/error.hpp"

namespace skep::inline v0::p2p {

/// A stretch of bytes somewhere, and what keeps it alive while the network reads it.
struct Segment {
  BytesView bytes;
  std::shared_ptr<const void> owner;
};

/// A message body: head bytes of its own, then segments that stay where they are (tensors) until they are sealed.
class Payload {
 public:
  Payload() = default;
  Payload(Bytes head) : head_(std::move(head)) {}  // NOLINT(*-explicit-*): bytes are the ordinary body

  /// Appends bytes of its own.
  void append(Bytes owned) {
    if (owned.empty()) return;
    if (segments_.empty() && head_.empty()) {
      head_ = std::move(owned);
      return;
    }
    if (segments_.empty()) {
      skep::append(head_, owned);
      return;
    }
    auto owner = std::make_shared<const Bytes>(std::move(owned));
    const BytesView view(*owner);
    segments_.push_back({view, std::move(owner)});
  }
  /// Appends bytes that lie elsewhere; `owner` keeps them until the network has let go.
  void append(BytesView bytes, std::shared_ptr<const void> owner) {
    if (!bytes.empty()) segments_.push_back({bytes, std::move(owner)});
  }
  void append(Payload tail) {
    append(std::move(tail.head_));
    for (auto& segment : tail.segments_) segments_.push_back(std::move(segment));
  }
  /// Puts bytes before everything else.
  void prepend(Bytes front) {
    skep::append(front, head_);
    head_ = std::move(front);
  }

  [[nodiscard]] const Bytes& head() const noexcept { return head_; }
  [[nodiscard]] const std::vector<Segment>& segments() const noexcept { return segments_; }
  [[nodiscard]] std::size_t size() const noexcept {
    std::size_t total = head_.size();
    for (const auto& segment : segments_) total += segment.bytes.size();
    return total;
  }
  /// One contiguous copy; costs nothing when there is only a head.
  [[nodiscard]] Bytes flatten() && {
    for (const auto& segment : segments_) skep::append(head_, segment.bytes);
    segments_.clear();
    return std::move(head_);
  }

 private:
  Bytes head_;
  std::vector<Segment> segments_;
};

/// Gets a body as it arrives: first its size, then in turns "where do the next bytes go" and "so many are there".
/// Calls come from the connection's executor, never two at once; an error ends the message, not the connection.
template <class S>
concept BodySink = requires(S& sink, std::size_t n) {
  { sink.start(n) } -> std::same_as<std::error_code>;    ///< before the first byte; may refuse the size
  { sink.destination() } -> std::same_as<MutableBytes>;  ///< never empty while bytes are missing
  { sink.filled(n) } -> std::same_as<std::error_code>;   ///< n bytes of destination() were written
};

/// A `BodySink` whose type the network need not know; one virtual call a piece of up to 64 KiB.
class AnyBodySink {
 public:
  virtual ~AnyBodySink() = default;
  [[nodiscard]] virtual std::error_code start(std::size_t size) = 0;
  [[nodiscard]] virtual MutableBytes destination() = 0;
  [[nodiscard]] virtual std::error_code filled(std::size_t n) = 0;
};

/// The ordinary sink: one contiguous buffer, its size bounded before it is allocated.
class BytesSink final : public AnyBodySink {
 public:
  explicit BytesSink(std::size_t limit) : limit_(limit) {}

  [[nodiscard]] std::error_code start(std::size_t size) override {
    if (size > limit_) return make_error_code(skep::errc::limit_exceeded);
    bytes_.resize(size);
    return {};
  }
  [[nodiscard]] MutableBytes destination() override { return MutableBytes(bytes_).subspan(filled_); }
  [[nodiscard]] std::error_code filled(std::size_t n) override {
    filled_ += n;
    return {};
  }
  [[nodiscard]] Bytes take() && { return std::move(bytes_); }

 private:
  std::size_t limit_;
  std::size_t filled_ = 0;
  Bytes bytes_;
};

static_assert(BodySink<AnyBodySink> && BodySink<BytesSink>);

}  // namespace skep::inline v0::p2p
