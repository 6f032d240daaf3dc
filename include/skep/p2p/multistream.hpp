// multistream-select 1.0: how two peers agree on the protocol of a connection or a stream.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "skep/core/bytes.hpp"
#include "skep/core/error.hpp"
#include "skep/core/result.hpp"
#include "skep/core/varint.hpp"
#include "skep/p2p/error.hpp"

namespace skep::inline v0::p2p {

inline constexpr std::string_view multistream_header = "/multistream/1.0.0";
inline constexpr std::string_view multistream_refusal = "na";
/// The longest name with its newline, in both directions.
inline constexpr std::size_t max_multistream_token = 1024;

/// Appends a token: its length with the newline, the name, the newline. Names are shorter than `max_multistream_token`.
inline void append_multistream_token(Bytes& to, std::string_view name) {
  append_varint(to, name.size() + 1);
  append(to, as_bytes(name));
  to.push_back('\n');
}

/// A token in the reader's buffer; `size` bytes with everything, 0 while it is not complete.
struct MultistreamToken {
  std::string_view name;
  std::size_t size = 0;
};

/// Reads the token at the front of `bytes` and not a byte more.
/// @return errc::negotiation_failed for an empty or too long token, a length that is not minimal, a missing newline.
[[nodiscard]] inline Result<MultistreamToken> read_multistream_token(BytesView bytes) noexcept {
  const auto length = read_varint(bytes);
  if (!length) {
    if (length.error() == skep::errc::truncated && bytes.size() < 2) return MultistreamToken{};
    return errc::negotiation_failed;
  }
  if (length->value == 0 || length->value > max_multistream_token) return errc::negotiation_failed;
  const auto size = static_cast<std::size_t>(length->value);
  const BytesView rest = bytes.subspan(length->size);
  if (rest.size() < size) return MultistreamToken{};
  if (rest[size - 1] != '\n') return errc::negotiation_failed;
  return MultistreamToken{as_text(rest.first(size - 1)), length->size + size};
}

/// The side that offers protocols. Pure: it is fed what has arrived and appends what must be written.
class MultistreamServer {
 public:
  /// Names a client may propose in vain.
  static constexpr int max_refusals = 100;

  /// Appends the header, at once and without waiting for the client's; `receive` does it where this was not called.
  void start(Bytes& out) {
    if (std::exchange(started_, true)) return;
    append_multistream_token(out, multistream_header);
  }

  /// Takes whole tokens from the front of `in`, until one names a protocol for which `supported(name)` is true.
  /// @return how many bytes were taken: what follows belongs to the protocol, or is the beginning of a token that is
  ///   not complete. errc::negotiation_failed means that the connection or stream is to be closed without a word.
  template <std::predicate<std::string_view> Supported>
  [[nodiscard]] Result<std::size_t> receive(BytesView in, Bytes& out, Supported&& supported) {
    std::size_t taken = 0;
    while (!done_) {
      const auto token = read_multistream_token(in.subspan(taken));
      if (!token) return token.error();
      if (token->size == 0) break;
      taken += token->size;
      if (!greeted_) {
        if (token->name != multistream_header) return errc::negotiation_failed;
        greeted_ = true;
        start(out);
      } else if (supported(token->name)) {
        protocol_ = token->name;
        append_multistream_token(out, token->name);
        done_ = true;
      } else {
        if (++refusals_ > max_refusals) return errc::negotiation_failed;
        append_multistream_token(out, multistream_refusal);
      }
    }
    return taken;
  }

  [[nodiscard]] bool done() const noexcept { return done_; }
  /// What was agreed on; empty before.
  [[nodiscard]] const std::string& protocol() const noexcept { return protocol_; }

 private:
  bool started_ = false;
  bool greeted_ = false;
  bool done_ = false;
  int refusals_ = 0;
  std::string protocol_;
};

/// The side that chooses, from a list in the order of preference. The header and the first proposal go out together.
/// With one proposal the caller may append the protocol's own first bytes at once and look at the answer when it reads
/// (a listener reads byte-exact), which saves a round trip.
class MultistreamClient {
 public:
  /// @param proposals  at least one; the caller keeps them until the end of the negotiation
  explicit MultistreamClient(std::span<const std::string> proposals) noexcept : proposals_(proposals) {}
  explicit MultistreamClient(const std::string& proposal) noexcept : proposals_(&proposal, 1) {}
  explicit MultistreamClient(std::string&&) = delete;

  /// Appends the header and the first proposal.
  void start(Bytes& out) const {
    append_multistream_token(out, multistream_header);
    append_multistream_token(out, proposals_.front());
  }

  /// Takes the answers from the front of `in`; on a refusal the next proposal is appended to `out`.
  /// @return how many bytes were taken, never one of the protocol's own. errc::protocol_not_supported when all was
  ///   refused; errc::negotiation_failed for any other answer.
  [[nodiscard]] Result<std::size_t> receive(BytesView in, Bytes& out) {
    std::size_t taken = 0;
    while (!done_) {
      const auto token = read_multistream_token(in.subspan(taken));
      if (!token) return token.error();
      if (token->size == 0) break;
      taken += token->size;
      if (!greeted_) {
        if (token->name != multistream_header) return errc::negotiation_failed;
        greeted_ = true;
      } else if (token->name == proposals_.front()) {
        done_ = true;
      } else if (token->name == multistream_refusal) {
        if (proposals_.size() == 1) return errc::protocol_not_supported;
        proposals_ = proposals_.subspan(1);
        append_multistream_token(out, proposals_.front());
      } else {
        return errc::negotiation_failed;
      }
    }
    return taken;
  }

  [[nodiscard]] bool done() const noexcept { return done_; }
  /// What is proposed now, or was agreed on when `done()`.
  [[nodiscard]] const std::string& protocol() const noexcept { return proposals_.front(); }

 private:
  std::span<const std::string> proposals_;
  bool greeted_ = false;
  bool done_ = false;
};

}  // namespace skep::inline v0::p2p
