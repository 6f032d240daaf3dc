// The sealed records of a Noise connection, after its handshake: many pieces sealed without gathering, opened in place.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <utility>

#include "skep/core/bytes.hpp"
#include "skep/core/endian.hpp"
#include "skep/core/result.hpp"
#include "skep/crypto/aead.hpp"
#include "skep/crypto/secret.hpp"
#include "skep/p2p/error.hpp"

namespace skep::inline v0::p2p {

/// Both directions of an encrypted connection (Noise Protocol Framework, libp2p specs noise). A record is its length in
/// two bytes, big-endian, the cipher text and a tag; where one ends means nothing to the bytes inside. Pure; it keeps
/// the key schedules, so it costs a record nothing but the cipher.
class NoiseTransport {
 public:
  static constexpr std::size_t length_size = 2;
  static constexpr std::size_t max_message = 65535;
  static constexpr std::size_t max_plain = max_message - crypto::aead_tag_size;
  /// What a record adds to its plain bytes.
  static constexpr std::size_t overhead = length_size + crypto::aead_tag_size;

  NoiseTransport(const crypto::Secret<32>& sending_key, const crypto::Secret<32>& receiving_key)
      : sealer_(sending_key), opener_(receiving_key) {}

  /// How many bytes `seal` writes for `plain` bytes.
  [[nodiscard]] static constexpr std::size_t sealed_size(std::size_t plain) noexcept {
    return plain + (plain + max_plain - 1) / max_plain * overhead;
  }
  /// How many plain bytes can be sealed into `room` bytes.
  [[nodiscard]] static constexpr std::size_t plain_room(std::size_t room) noexcept {
    const std::size_t whole = room / (max_plain + overhead);
    const std::size_t rest = room % (max_plain + overhead);
    return whole * max_plain + (rest > overhead ? rest - overhead : 0);
  }

  /// Seals the pieces one after the other into as few records as possible. Long pieces are read where they lie and
  /// written once, as cipher text; short ones are put together first, which costs less than a call for each. Records
  /// follow each other in `out`, which has `sealed_size` of all pieces.
  /// @return how many bytes were written. After errc::session_exhausted nothing may be sent on the connection.
  [[nodiscard]] Result<std::size_t> seal(std::span<const BytesView> pieces, MutableBytes out) noexcept {
    std::size_t left = 0;
    for (const BytesView piece : pieces) left += piece.size();
    std::uint8_t* at = out.data();
    BytesView piece;
    while (left > 0) {
      if (sending_nonce_ == last_nonce) return errc::session_exhausted;
      const std::size_t plain = std::min(left, max_plain);
      left -= plain;
      store_be(at, static_cast<std::uint16_t>(plain + crypto::aead_tag_size));
      at += length_size;
      sealer_.start(sending_nonce_++);
      seal_plain(piece, pieces, plain, at);
      at += plain;
      if (!sealer_.finish(at)) return errc::session_exhausted;
      at += crypto::aead_tag_size;
    }
    return static_cast<std::size_t>(at - out.data());
  }

  /// A record that was opened where it lay: `plain` lies inside the reader's buffer (and may be empty), `consumed`
  /// bytes at its front are done with. 0 bytes: the record is not complete.
  struct Opened {
    MutableBytes plain;
    std::size_t consumed = 0;
  };
  /// Opens the record at the front of `in`. Nothing is handed out before its tag is checked.
  /// @return errc::not_authentic for a record that was altered, repeated, left out or too short, and for all after it.
  [[nodiscard]] Result<Opened> open(MutableBytes in) noexcept {
    if (broken_) return errc::not_authentic;
    if (in.size() < length_size) return Opened{};
    const std::size_t size = load_be<std::uint16_t>(in.data());
    if (in.size() - length_size < size) return Opened{};
    const MutableBytes message = in.subspan(length_size, size);
    if (receiving_nonce_ == last_nonce || !opener_.open(receiving_nonce_, {}, message)) {
      broken_ = true;
      return errc::not_authentic;
    }
    ++receiving_nonce_;
    return Opened{message.first(size - crypto::aead_tag_size), length_size + size};
  }

 private:
  static constexpr std::uint64_t last_nonce = std::numeric_limits<std::uint64_t>::max();  // reserved by Noise

  static constexpr std::size_t long_piece = 6 * 1024;  // from here on a copy costs more than a call of the cipher
  static constexpr std::size_t block = 64;             // of the cipher; a call that ends within one costs another block

  /// Encrypts the next `missing` bytes to `at`: the rest of `piece`, then of `pieces`. What is put together is filled
  /// up to whole blocks from the long piece behind it, so that only a record's end cuts a block.
  void seal_plain(BytesView& piece, std::span<const BytesView>& pieces, std::size_t missing,
                  std::uint8_t* at) noexcept {
    std::size_t gathered = 0;  // bytes at `at` that are not encrypted yet
    const auto gather = [&](std::size_t size) {
      std::memcpy(at + gathered, piece.data(), size);
      piece = piece.subspan(size);
      gathered += size;
      missing -= size;
    };
    const auto encrypt_gathered = [&] {
      sealer_.update(BytesView(at, gathered), at);
      at += std::exchange(gathered, 0);
    };
    while (missing > 0) {
      if (piece.empty()) {
        piece = pieces.front();
        pieces = pieces.subspan(1);
      } else if (const std::size_t part = std::min(missing, piece.size()); part < long_piece) {
        gather(part);
      } else {
        gather((block - gathered % block) % block);
        encrypt_gathered();
        const BytesView whole_blocks = piece.first(std::min(missing, piece.size()) / block * block);
        sealer_.update(whole_blocks, at);
        at += whole_blocks.size();
        missing -= whole_blocks.size();
        piece = piece.subspan(whole_blocks.size());
      }
    }
    encrypt_gathered();
  }

  crypto::AeadSealer sealer_;
  crypto::AeadOpener opener_;
  std::uint64_t sending_nonce_ = 0;
  std::uint64_t receiving_nonce_ = 0;
  bool broken_ = false;
};

}  // namespace skep::inline v0::p2p
