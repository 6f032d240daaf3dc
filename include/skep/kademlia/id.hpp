// Id: a point of the key space, a big-endian number whose distance to another is their XOR.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>

#include "skep/core/bytes.hpp"
#include "skep/core/endian.hpp"
#include "skep/core/error.hpp"
#include "skep/core/random.hpp"
#include "skep/core/result.hpp"

namespace skep::inline v0::kademlia {

/// A number in [0, 2^Bits): 160 bits in Hivemind's DHT, 256 in libp2p's peer routing. Ordered as a number; the
/// distance of two ids (Maymounkov and Mazieres, 2002) is again an id: `a ^ b`.
template <std::size_t Bits>
class Id {
 public:
  static_assert(Bits % 8 == 0 && Bits > 0);
  static constexpr std::size_t bits = Bits;
  static constexpr std::size_t size = Bits / 8;

  constexpr Id() noexcept = default;
  constexpr explicit Id(const std::array<std::uint8_t, size>& big_endian) noexcept : bytes_(big_endian) {}

  /// Reads a big-endian number of any length, as Hivemind does: missing leading bytes are zero.
  /// @return errc::malformed when it is 2^Bits or more.
  [[nodiscard]] static Result<Id> from_bytes(BytesView number) noexcept {
    while (number.size() > size) {
      if (number.front() != 0) return errc::malformed;
      number = number.subspan(1);
    }
    Id id;
    std::copy(number.begin(), number.end(), id.bytes_.end() - static_cast<std::ptrdiff_t>(number.size()));
    return id;
  }

  [[nodiscard]] static Id random(Random& engine) noexcept {
    Id id;
    engine.fill(id.bytes_);
    return id;
  }

  [[nodiscard]] BytesView bytes() const noexcept { return bytes_; }

  /// Bit number `i`, counted from the most significant one.
  [[nodiscard]] constexpr bool bit(std::size_t i) const noexcept { return (bytes_[i / 8] >> (7 - i % 8)) & 1; }
  constexpr void set_bit(std::size_t i) noexcept {
    bytes_[i / 8] = static_cast<std::uint8_t>(bytes_[i / 8] | (0x80 >> (i % 8)));
  }

  /// How many of the leading bits are zero; of a distance: the length of the common prefix.
  [[nodiscard]] constexpr std::size_t leading_zeros() const noexcept {
    for (std::size_t i = 0; i < size; ++i) {
      if (bytes_[i] != 0) return i * 8 + static_cast<std::size_t>(std::countl_zero(bytes_[i]));
    }
    return bits;
  }

  friend constexpr Id operator^(const Id& a, const Id& b) noexcept {
    Id out;
    for (std::size_t i = 0; i < size; ++i) out.bytes_[i] = static_cast<std::uint8_t>(a.bytes_[i] ^ b.bytes_[i]);
    return out;
  }
  friend constexpr bool operator==(const Id&, const Id&) noexcept = default;
  /// As numbers; word by word, since lookups compare ids all the time.
  friend std::strong_ordering operator<=>(const Id& a, const Id& b) noexcept {
    for (std::size_t i = 0; i + 8 <= size; i += 8) {
      const auto x = load_be<std::uint64_t>(a.bytes_.data() + i);
      const auto y = load_be<std::uint64_t>(b.bytes_.data() + i);
      if (x != y) return x <=> y;
    }
    for (std::size_t i = size / 8 * 8; i < size; ++i) {
      if (a.bytes_[i] != b.bytes_[i]) return a.bytes_[i] <=> b.bytes_[i];
    }
    return std::strong_ordering::equal;
  }

 private:
  std::array<std::uint8_t, size> bytes_{};
};

/// A peer of the key space: where it stands and how it is reached.
template <class Id, class Contact>
struct Entry {
  Id id;
  Contact contact;

  friend bool operator==(const Entry&, const Entry&) = default;
};

}  // namespace skep::inline v0::kademlia

template <std::size_t Bits>
struct std::hash<skep::kademlia::Id<Bits>> {
  std::size_t operator()(const skep::kademlia::Id<Bits>& id) const noexcept {
    std::size_t out = 0;  // ids are hashes or random: their last bytes are as good as any
    static_assert(Bits / 8 >= sizeof out);
    std::memcpy(&out, id.bytes().data() + Bits / 8 - sizeof out, sizeof out);
    return out;
  }
};
