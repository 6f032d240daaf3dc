// RecordBuffer: where the records of a connection arrive. It grows while they come fast and gives its memory back when
// they no longer do.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#include "skep/core/bytes.hpp"
#include "skep/core/endian.hpp"

namespace skep::inline v0::p2p {

/// Bytes of a stream of records, each with its length in two bytes in front (Noise of libp2p). Pure.
class RecordBuffer {
 public:
  static constexpr std::size_t small = 4 * 1024;
  static constexpr std::size_t large = 256 * 1024;
  static constexpr int small_reads_to_shrink = 64;

  /// @param unread  what has arrived already
  explicit RecordBuffer(Bytes unread) noexcept : buffer_(std::move(unread)), end_(buffer_.size()) {}

  /// Where the next bytes may be read to; at least the rest of the record that has begun finds room. What was given
  /// before by `arrived` moves.
  [[nodiscard]] MutableBytes room() {
    const std::size_t filled = end_ - begin_;
    std::size_t wanted = std::max(buffer_.size(), small);
    if (filled >= 2) wanted = std::max(wanted, 2 + std::size_t{load_be<std::uint16_t>(buffer_.data() + begin_)});
    if (std::exchange(was_full_, false)) wanted = std::min(large, 4 * wanted);
    if (small_reads_ >= small_reads_to_shrink && filled == 0) wanted = small;
    if (wanted != buffer_.size()) {
      Bytes other(wanted);
      std::copy_n(buffer_.begin() + static_cast<std::ptrdiff_t>(begin_), filled, other.begin());
      buffer_ = std::move(other);
    } else if (begin_ > 0) {
      std::memmove(buffer_.data(), buffer_.data() + begin_, filled);
    }
    begin_ = 0;
    end_ = filled;
    return MutableBytes(buffer_).subspan(end_);
  }
  /// So many bytes were read into the room.
  void add(std::size_t size) noexcept {
    small_reads_ = size < small ? small_reads_ + 1 : 0;
    was_full_ = was_full_ || end_ + size == buffer_.size();
    end_ += size;
  }

  /// What has arrived and was not taken.
  [[nodiscard]] MutableBytes arrived() noexcept { return MutableBytes(buffer_).subspan(begin_, end_ - begin_); }
  /// A record of so many bytes at the front was opened; it stays where it is until `room` is asked for.
  void take(std::size_t size) noexcept { begin_ += size; }

 private:
  Bytes buffer_;
  std::size_t begin_ = 0;  // [begin_, end_): arrived, not taken
  std::size_t end_ = 0;
  int small_reads_ = 0;  // in a row
  bool was_full_ = false;
};

}  // namespace skep::inline v0::p2p
