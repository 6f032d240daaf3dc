// The Noise handshake that makes a connection private and proves who is at its ends.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "skep/codec/libp2p_messages.hpp"
#include "skep/core/bytes.hpp"
#include "skep/core/endian.hpp"
#include "skep/core/result.hpp"
#include "skep/crypto/aead.hpp"
#include "skep/crypto/hash.hpp"
#include "skep/crypto/secret.hpp"
#include "skep/crypto/x25519.hpp"
#include "skep/p2p/error.hpp"
#include "skep/p2p/identity.hpp"
#include "skep/p2p/noise_symmetric_state.hpp"
#include "skep/p2p/noise_transport.hpp"
#include "skep/p2p/peer_id.hpp"

namespace skep::inline v0::p2p {

inline constexpr std::string_view noise_protocol = "/noise";

/// What a host shows in every handshake: its Noise static key, signed once by its identity, and the multiplexers it
/// offers. One per host, shared by its connections.
class NoiseCredentials {
 public:
  /// @param muxers  in the order of preference; an empty list leaves the choice to multistream-select
  explicit NoiseCredentials(const Identity& identity, std::vector<std::string> muxers = {"/yamux/1.0.0"},
                            const crypto::X25519KeyPair& static_key = crypto::X25519KeyPair::generate())
      : static_key_(static_key), muxers_(std::move(muxers)) {
    const codec::NoiseHandshakePayload payload{to_bytes(identity.public_key_message()),
                                               identity.sign(signed_text(static_key_.public_key())), muxers_};
    payload_ = payload.encode();
  }

  [[nodiscard]] const crypto::X25519KeyPair& static_key() const noexcept { return static_key_; }
  [[nodiscard]] BytesView payload() const noexcept { return payload_; }
  [[nodiscard]] const std::vector<std::string>& muxers() const noexcept { return muxers_; }

  /// What an identity signs.
  [[nodiscard]] static Bytes signed_text(BytesView static_public_key) {
    Bytes text = to_bytes("noise-libp2p-static-key:");
    append(text, static_public_key);
    return text;
  }

 private:
  crypto::X25519KeyPair static_key_;
  std::vector<std::string> muxers_;
  Bytes payload_;
};

/// One handshake, XX of the Noise Protocol Framework with libp2p's payload (libp2p specs, noise). Pure: it is fed what
/// has arrived and appends what must be written, messages with their lengths. After a failure the connection is closed
/// without a word.
class NoiseHandshake {
 public:
  enum class Role { initiator, responder };

  /// @param expected   who must be at the other end; empty takes anybody who proves a name
  /// @param ephemeral  fresh for each handshake; given only by tests
  NoiseHandshake(Role role, std::shared_ptr<const NoiseCredentials> credentials, PeerId expected = {},
                 const crypto::X25519KeyPair& ephemeral = crypto::X25519KeyPair::generate())
      : role_(role), credentials_(std::move(credentials)), expected_(std::move(expected)), ephemeral_(ephemeral) {}

  /// Appends the initiator's first message; nothing for a responder.
  void start(Bytes& out) {
    if (role_ == Role::responder) return;
    const std::size_t at = open_message(out);
    write_ephemeral(out);
    state_.encrypt_and_hash({}, out);
    close_message(out, at);
  }

  /// Takes whole messages from the front of `in`, until the handshake is done.
  /// @return how many bytes were taken; what follows are records. errc::handshake_failed, errc::not_authentic,
  ///   errc::bad_identity, errc::wrong_peer end the connection.
  [[nodiscard]] Result<std::size_t> receive(BytesView in, Bytes& out) {
    std::size_t taken = 0;
    while (!done_) {
      const BytesView rest = in.subspan(taken);
      if (rest.size() < NoiseTransport::length_size) break;
      const std::size_t size = load_be<std::uint16_t>(rest.data());
      if (rest.size() - NoiseTransport::length_size < size) break;
      const auto step = read(rest.subspan(NoiseTransport::length_size, size), out);
      if (!step) return step.error();
      taken += NoiseTransport::length_size + size;
    }
    return taken;
  }

  [[nodiscard]] bool done() const noexcept { return done_; }

  // what the handshake found; meaningful when done()

  /// Who is at the other end, proved.
  [[nodiscard]] const PeerId& peer() const noexcept { return peer_; }
  /// Its PublicKey message.
  [[nodiscard]] const Bytes& peer_public_key() const noexcept { return peer_public_key_; }
  /// The multiplexer that both sides named; empty: it is negotiated by multistream-select inside the records.
  [[nodiscard]] const std::string& muxer() const noexcept { return muxer_; }
  /// The channel binding: the same at both ends and nowhere else.
  [[nodiscard]] const crypto::Sha256Digest& handshake_hash() const noexcept { return state_.hash(); }
  /// The records that follow. To be called once.
  [[nodiscard]] NoiseTransport transport() const {
    const auto [forth, back] = state_.split();
    return role_ == Role::initiator ? NoiseTransport(forth, back) : NoiseTransport(back, forth);
  }

 private:
  static constexpr std::size_t key_size = 32;
  static constexpr std::size_t sealed_key_size = key_size + crypto::aead_tag_size;

  /// One message of the other side, without its length; appends ours if it is our turn then.
  [[nodiscard]] Result<void> read(BytesView message, Bytes& out) {
    if (role_ == Role::initiator) return read_response(message, out);
    if (!peer_ephemeral_) return read_request(message, out);
    return read_confirmation(message);
  }

  /// Message 1 at the responder, answered with message 2.
  [[nodiscard]] Result<void> read_request(BytesView message, Bytes& out) {
    if (message.size() < key_size) return errc::handshake_failed;
    read_ephemeral(message.first<key_size>());
    state_.mix_hash(message.subspan(key_size));  // not encrypted yet, and of no use

    const std::size_t at = open_message(out);
    write_ephemeral(out);
    if (auto mixed = mix_agreement(ephemeral_, *peer_ephemeral_); !mixed) return mixed;
    state_.encrypt_and_hash(credentials_->static_key().public_key(), out);
    if (auto mixed = mix_agreement(credentials_->static_key(), *peer_ephemeral_); !mixed) return mixed;
    state_.encrypt_and_hash(credentials_->payload(), out);
    close_message(out, at);
    return {};
  }

  /// Message 2 at the initiator, answered with message 3.
  [[nodiscard]] Result<void> read_response(BytesView message, Bytes& out) {
    if (message.size() < key_size + sealed_key_size + crypto::aead_tag_size) return errc::handshake_failed;
    read_ephemeral(message.first<key_size>());
    if (auto mixed = mix_agreement(ephemeral_, *peer_ephemeral_); !mixed) return mixed;
    if (auto read = read_static(message.subspan(key_size, sealed_key_size)); !read) return read;
    if (auto mixed = mix_agreement(ephemeral_, peer_static_); !mixed) return mixed;
    if (auto read = read_payload(message.subspan(key_size + sealed_key_size)); !read) return read;

    const std::size_t at = open_message(out);
    state_.encrypt_and_hash(credentials_->static_key().public_key(), out);
    if (auto mixed = mix_agreement(credentials_->static_key(), *peer_ephemeral_); !mixed) return mixed;
    state_.encrypt_and_hash(credentials_->payload(), out);
    close_message(out, at);
    done_ = true;
    return {};
  }

  /// Message 3 at the responder.
  [[nodiscard]] Result<void> read_confirmation(BytesView message) {
    if (message.size() < sealed_key_size + crypto::aead_tag_size) return errc::handshake_failed;
    if (auto read = read_static(message.first(sealed_key_size)); !read) return read;
    if (auto mixed = mix_agreement(ephemeral_, peer_static_); !mixed) return mixed;
    if (auto read = read_payload(message.subspan(sealed_key_size)); !read) return read;
    done_ = true;
    return {};
  }

  void write_ephemeral(Bytes& out) {
    append(out, ephemeral_.public_key());
    state_.mix_hash(ephemeral_.public_key());
  }
  void read_ephemeral(std::span<const std::uint8_t, key_size> key) {
    std::copy(key.begin(), key.end(), peer_ephemeral_.emplace().begin());
    state_.mix_hash(key);
  }
  [[nodiscard]] Result<void> read_static(BytesView sealed) {
    const auto key = state_.decrypt_and_hash(sealed);
    if (!key) return key.error();
    std::copy(key->begin(), key->end(), peer_static_.begin());
    return {};
  }
  [[nodiscard]] Result<void> mix_agreement(const crypto::X25519KeyPair& ours, const crypto::X25519PublicKey& theirs) {
    const auto shared = ours.agree(theirs);
    if (!shared) return errc::handshake_failed;
    state_.mix_key(*shared);
    return {};
  }

  /// The identity behind the static key, and the multiplexer: the first of the initiator's that the responder has too.
  [[nodiscard]] Result<void> read_payload(BytesView sealed) {
    const auto plain = state_.decrypt_and_hash(sealed);
    if (!plain) return plain.error();
    const auto payload = codec::NoiseHandshakePayload::decode(*plain);
    if (!payload) return errc::handshake_failed;
    const auto key = codec::PublicKeyMessage::decode(payload->identity_key);
    if (!key) return errc::bad_identity;
    peer_public_key_ = key->encode();  // one key has one id, however it was written
    peer_ = PeerId::of_public_key(peer_public_key_);
    if (!expected_.empty() && peer_ != expected_) return errc::wrong_peer;
    const Bytes text = NoiseCredentials::signed_text(peer_static_);
    if (!verify(peer_public_key_, text, payload->identity_sig)) return errc::bad_identity;

    const auto& ours = credentials_->muxers();
    const auto& theirs = payload->stream_muxers;
    const auto& first = role_ == Role::initiator ? ours : theirs;
    const auto& second = role_ == Role::initiator ? theirs : ours;
    const auto common = std::find_first_of(first.begin(), first.end(), second.begin(), second.end());
    if (common != first.end()) muxer_ = *common;
    return {};
  }

  /// Leaves room for the length of a message that is appended next.
  [[nodiscard]] static std::size_t open_message(Bytes& out) {
    out.resize(out.size() + NoiseTransport::length_size);
    return out.size();
  }
  static void close_message(Bytes& out, std::size_t start) {
    store_be(out.data() + start - NoiseTransport::length_size, static_cast<std::uint16_t>(out.size() - start));
  }

  Role role_;
  bool done_ = false;
  std::shared_ptr<const NoiseCredentials> credentials_;
  PeerId expected_;
  crypto::X25519KeyPair ephemeral_;
  detail::NoiseSymmetricState state_;
  std::optional<crypto::X25519PublicKey> peer_ephemeral_;
  crypto::X25519PublicKey peer_static_{};
  PeerId peer_;
  Bytes peer_public_key_;
  std::string muxer_;
};

}  // namespace skep::inline v0::p2p
