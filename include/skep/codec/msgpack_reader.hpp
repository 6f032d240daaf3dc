// Reads MessagePack token by token without allocating: for formats whose shape is known, and under `msgpack::decode`.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "skep/core/bytes.hpp"
#include "skep/core/endian.hpp"
#include "skep/core/error.hpp"
#include "skep/core/result.hpp"

namespace skep::inline v0::codec::msgpack {

enum class Kind : std::uint8_t {
  nil,
  boolean,
  integer,           ///< fits std::int64_t
  unsigned_integer,  ///< needs std::uint64_t
  real,              ///< float32 is widened
  text,              ///< not yet checked to be UTF-8
  binary,
  array,      ///< `count()` values follow
  map,        ///< `count()` pairs of values follow
  extension,  ///< `bytes` of type `extension_type`
};

/// One step of a value. Containers give their head only.
struct Token {
  Kind kind = Kind::nil;
  std::int8_t extension_type = 0;
  std::uint64_t number = 0;  ///< a boolean, an integer's or a real's bits, or a count
  BytesView bytes;           ///< text, binary and extension: inside the reader's bytes

  [[nodiscard]] bool boolean() const noexcept { return number != 0; }
  [[nodiscard]] std::int64_t integer() const noexcept { return std::bit_cast<std::int64_t>(number); }
  [[nodiscard]] double real() const noexcept { return std::bit_cast<double>(number); }
  [[nodiscard]] std::size_t count() const noexcept { return static_cast<std::size_t>(number); }
};

/// A position in MessagePack bytes that somebody else owns. Every length and count is checked against the bytes left.
class Reader {
 public:
  explicit Reader(BytesView bytes) noexcept : rest_(bytes) {}

  [[nodiscard]] BytesView rest() const noexcept { return rest_; }
  [[nodiscard]] bool at_end() const noexcept { return rest_.empty(); }

  /// @return errc::truncated when the bytes end first, errc::malformed for the one byte that means nothing (0xc1).
  [[nodiscard]] Result<Token> next() noexcept {
    if (rest_.empty()) return errc::truncated;
    const std::uint8_t lead = rest_[0];
    if (lead < 0x80) return scalar(1, Kind::integer, lead);
    if (lead < 0x90) return container(Kind::map, 1, lead & 0x0fU);
    if (lead < 0xa0) return container(Kind::array, 1, lead & 0x0fU);
    if (lead < 0xc0) return blob(Kind::text, 1, lead & 0x1fU);
    if (lead >= 0xe0) return scalar(1, Kind::integer, signed_bits(static_cast<std::int8_t>(lead)));
    switch (lead) {
      case 0xc0: return scalar(1, Kind::nil, 0);
      case 0xc2: return scalar(1, Kind::boolean, 0);
      case 0xc3: return scalar(1, Kind::boolean, 1);
      case 0xc4: return sized<std::uint8_t>(&Reader::blob, Kind::binary);
      case 0xc5: return sized<std::uint16_t>(&Reader::blob, Kind::binary);
      case 0xc6: return sized<std::uint32_t>(&Reader::blob, Kind::binary);
      case 0xc7: return sized<std::uint8_t>(&Reader::extension, Kind::extension);
      case 0xc8: return sized<std::uint16_t>(&Reader::extension, Kind::extension);
      case 0xc9: return sized<std::uint32_t>(&Reader::extension, Kind::extension);
      case 0xca: return fixed<float>();
      case 0xcb: return fixed<double>();
      case 0xcc: return fixed<std::uint8_t>();
      case 0xcd: return fixed<std::uint16_t>();
      case 0xce: return fixed<std::uint32_t>();
      case 0xcf: return fixed<std::uint64_t>();
      case 0xd0: return fixed<std::int8_t>();
      case 0xd1: return fixed<std::int16_t>();
      case 0xd2: return fixed<std::int32_t>();
      case 0xd3: return fixed<std::int64_t>();
      case 0xd4:
      case 0xd5:
      case 0xd6:
      case 0xd7:
      case 0xd8: return extension(Kind::extension, 1, std::size_t{1} << (lead - 0xd4));
      case 0xd9: return sized<std::uint8_t>(&Reader::blob, Kind::text);
      case 0xda: return sized<std::uint16_t>(&Reader::blob, Kind::text);
      case 0xdb: return sized<std::uint32_t>(&Reader::blob, Kind::text);
      case 0xdc: return sized<std::uint16_t>(&Reader::container, Kind::array);
      case 0xdd: return sized<std::uint32_t>(&Reader::container, Kind::array);
      case 0xde: return sized<std::uint16_t>(&Reader::container, Kind::map);
      case 0xdf: return sized<std::uint32_t>(&Reader::container, Kind::map);
      default: return errc::malformed;
    }
  }

  /// The next token, if it is of this kind; errc::malformed if it is another.
  [[nodiscard]] Result<Token> expect(Kind kind) noexcept {
    auto token = next();
    if (token && token->kind != kind) return errc::malformed;
    return token;
  }

  /// Steps over one whole value, containers with all they hold, and gives its bytes. Does not look into extensions.
  [[nodiscard]] Result<BytesView> skip() noexcept {
    const BytesView begin = rest_;
    for (std::uint64_t values = 1; values > 0; --values) {
      const auto token = next();
      if (!token) return token.error();
      if (token->kind == Kind::array) values += token->count();
      if (token->kind == Kind::map) values += 2 * std::uint64_t{token->count()};
      if (values - 1 > rest_.size()) return errc::truncated;  // each takes at least one byte
    }
    return begin.first(begin.size() - rest_.size());
  }

 private:
  using Make = Result<Token> (Reader::*)(Kind, std::size_t, std::size_t) noexcept;

  [[nodiscard]] static std::uint64_t signed_bits(std::int64_t value) noexcept {
    return std::bit_cast<std::uint64_t>(value);
  }

  Result<Token> scalar(std::size_t size, Kind kind, std::uint64_t number) noexcept {
    rest_ = rest_.subspan(size);
    return Token{.kind = kind, .extension_type = 0, .number = number, .bytes = {}};
  }

  template <class T>
  Result<Token> fixed() noexcept {
    if (rest_.size() < 1 + sizeof(T)) return errc::truncated;
    const T value = load_be<T>(rest_.data() + 1);
    if constexpr (std::floating_point<T>) {
      return scalar(1 + sizeof(T), Kind::real, std::bit_cast<std::uint64_t>(static_cast<double>(value)));
    } else if constexpr (std::signed_integral<T>) {
      return scalar(1 + sizeof(T), Kind::integer, signed_bits(value));
    } else {
      const bool large = value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
      return scalar(1 + sizeof(T), large ? Kind::unsigned_integer : Kind::integer, value);
    }
  }

  /// Reads the length that follows the lead byte and goes on with `make(kind, size of the head, length)`.
  template <class Length>
  Result<Token> sized(Make make, Kind kind) noexcept {
    if (rest_.size() < 1 + sizeof(Length)) return errc::truncated;
    return (this->*make)(kind, 1 + sizeof(Length), load_be<Length>(rest_.data() + 1));
  }

  Result<Token> blob(Kind kind, std::size_t head, std::size_t size) noexcept {
    if (rest_.size() - head < size) return errc::truncated;
    const Token token{.kind = kind, .extension_type = 0, .number = 0, .bytes = rest_.subspan(head, size)};
    rest_ = rest_.subspan(head + size);
    return token;
  }

  Result<Token> extension(Kind kind, std::size_t head, std::size_t size) noexcept {
    if (rest_.size() <= head) return errc::truncated;
    const auto type = static_cast<std::int8_t>(rest_[head]);
    auto token = blob(kind, head + 1, size);
    if (token) token->extension_type = type;
    return token;
  }

  Result<Token> container(Kind kind, std::size_t head, std::size_t count) noexcept {
    const std::size_t left = rest_.size() - head;
    const std::size_t room = kind == Kind::map ? left / 2 : left;
    if (count > room) return errc::truncated;  // each value takes at least one byte
    return scalar(head, kind, count);
  }

  BytesView rest_;
};

}  // namespace skep::inline v0::codec::msgpack
