// The key pair that a peer is known by: made, kept in a file, used to sign; and the check of other peers' signatures.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <utility>

#include "skep/codec/libp2p_messages.hpp"
#include "skep/core/bytes.hpp"
#include "skep/core/error.hpp"
#include "skep/core/result.hpp"
#include "skep/crypto/ecdsa.hpp"
#include "skep/crypto/ed25519.hpp"
#include "skep/crypto/rsa.hpp"
#include "skep/crypto/secret.hpp"
#include "skep/p2p/peer_id.hpp"

namespace skep::inline v0::p2p {

using codec::KeyType;

/// Whether the owner of a key signed `message` (libp2p specs, peer-ids). False for whatever is not a well-formed
/// PublicKey message of a known type too.
[[nodiscard]] inline bool verify(BytesView public_key_message, BytesView message, BytesView signature) {
  const auto key = codec::PublicKeyMessage::decode(public_key_message);
  if (!key) return false;
  switch (key->type) {
    case KeyType::ed25519: return crypto::ed25519_verify(key->data, message, signature);
    case KeyType::rsa: return crypto::rsa_verify(key->data, message, signature);
    case KeyType::secp256k1: return crypto::secp256k1_verify(key->data, message, signature);
    case KeyType::ecdsa: return crypto::ecdsa_verify(key->data, message, signature);
  }
  return false;
}

/// A private identity key, Ed25519 or RSA. Copies are the same identity; all members may be called from any thread.
class Identity {
 public:
  /// A new identity. RSA (2048 bits) is slow to make and only needed for a key file that Hivemind shall read too.
  [[nodiscard]] static Identity generate(KeyType type = KeyType::ed25519) {
    if (type == KeyType::ed25519) return Identity(crypto::Ed25519KeyPair::generate());
    if (type == KeyType::rsa) return Identity(crypto::RsaPrivateKey::generate());
    throw Error(skep::errc::invalid_argument, "an identity key is made as Ed25519 or RSA");
  }
  /// The Ed25519 identity of a seed; the same seed gives the same peer id.
  [[nodiscard]] static Identity from_seed(const crypto::Secret<32>& seed) {
    return Identity(crypto::Ed25519KeyPair(seed));
  }

  /// Reads a serialized PrivateKey message, the contents of a key file (Ed25519 with 64 or the older 96 bytes, RSA).
  /// @return errc::malformed if it is none, errc::limit_exceeded for an RSA key of a size that libp2p does not accept,
  ///   errc::invalid_argument for a type that cannot sign here.
  [[nodiscard]] static Result<Identity> from_private_key_message(BytesView message) {
    auto key = codec::PrivateKeyMessage::decode(message);
    if (!key) return key.error();
    auto identity = from_private_key(*key);
    crypto::wipe(key->data);
    return identity;
  }
  /// What `from_private_key_message` reads. The caller wipes it.
  [[nodiscard]] Bytes private_key_message() const {
    codec::PrivateKeyMessage message;
    if (ed25519_) {
      message.type = KeyType::ed25519;
      message.data = to_bytes(BytesView(ed25519_->seed().view()));
      append(message.data, ed25519_->public_key());
    } else {
      message.type = KeyType::rsa;
      message.data = rsa_->to_pkcs1();
    }
    Bytes bytes = message.encode();
    crypto::wipe(message.data);
    return bytes;
  }

  /// Reads a key file. @throws Error with the path when it cannot be read or holds no usable key.
  [[nodiscard]] static Identity load(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    Bytes bytes(max_key_file);
    if (file) file.read(reinterpret_cast<char*>(bytes.data()), max_key_file);
    if (!file.is_open() || file.bad()) {
      const std::error_code code(errno, std::generic_category());
      throw Error(code, "cannot read the identity file \"" + path.string() + "\": " + code.message());
    }
    bytes.resize(static_cast<std::size_t>(file.gcount()));
    auto identity = from_private_key_message(bytes);
    crypto::wipe(bytes);
    if (!identity) {
      throw Error(identity.error(),
                  "the identity file \"" + path.string() +
                      "\" does not hold a libp2p private key of type Ed25519 or RSA: " + identity.error().message());
    }
    return *std::move(identity);
  }

  /// Writes a key file that only its owner may read (mode 0400). An existing file is never overwritten.
  /// @throws Error with the path.
  void save(const std::filesystem::path& path) const {
    Bytes bytes = private_key_message();
    const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0400);
    bool good = file >= 0 && ::write(file, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size());
    int why = errno;
    if (file >= 0 && ::close(file) != 0 && std::exchange(good, false)) why = errno;
    crypto::wipe(bytes);
    if (good) return;
    if (file >= 0) ::unlink(path.c_str());  // half a key would be refused at the next start
    const std::error_code code(why, std::generic_category());
    throw Error(code, "cannot write the identity file \"" + path.string() + "\": " + code.message());
  }

  /// What `--identity_path` means: reads the file, or makes a new identity and writes it where there is none.
  /// @throws Error with the path, also when its directory does not exist.
  [[nodiscard]] static Identity load_or_generate(const std::filesystem::path& path, KeyType type = KeyType::ed25519) {
    std::error_code ignored;
    if (std::filesystem::exists(path, ignored)) return load(path);
    const auto directory = path.parent_path();
    if (!directory.empty() && !std::filesystem::is_directory(directory, ignored)) {
      throw Error(skep::errc::not_found,
                  "the directory \"" + directory.string() + "\" for the identity file does not exist");
    }
    Identity fresh = generate(type);
    fresh.save(path);
    return fresh;
  }

  [[nodiscard]] const PeerId& id() const noexcept { return id_; }
  /// The serialized PublicKey message.
  [[nodiscard]] BytesView public_key_message() const noexcept { return public_key_message_; }
  /// A signature that `verify` accepts: 64 bytes with Ed25519, the key's size with RSA.
  [[nodiscard]] Bytes sign(BytesView message) const {
    return ed25519_ ? to_bytes(BytesView(ed25519_->sign(message))) : rsa_->sign(message);
  }

 private:
  static constexpr std::size_t max_key_file = 64 * 1024;

  explicit Identity(const crypto::Ed25519KeyPair& pair)
      : ed25519_(pair),
        public_key_message_(codec::PublicKeyMessage{KeyType::ed25519, to_bytes(BytesView(pair.public_key()))}.encode()),
        id_(PeerId::of_public_key(public_key_message_)) {}
  explicit Identity(crypto::RsaPrivateKey key)
      : rsa_(std::move(key)),
        public_key_message_(codec::PublicKeyMessage{KeyType::rsa, rsa_->public_key()}.encode()),
        id_(PeerId::of_public_key(public_key_message_)) {}

  [[nodiscard]] static Result<Identity> from_private_key(const codec::PrivateKeyMessage& message) {
    const BytesView data(message.data);
    switch (message.type) {
      case KeyType::ed25519: {
        if (data.size() != 64 && data.size() != 96) return skep::errc::malformed;
        const crypto::Ed25519KeyPair pair(crypto::Secret<32>(data.first<32>()));
        for (std::size_t at = 32; at < data.size(); at += 32) {
          if (!crypto::constant_time_equal(data.subspan(at, 32), pair.public_key())) return skep::errc::malformed;
        }
        return Identity(pair);
      }
      case KeyType::rsa: {
        auto key = crypto::RsaPrivateKey::from_pkcs1(data);
        if (!key) return key.error();
        return Identity(*std::move(key));
      }
      default: return skep::errc::invalid_argument;
    }
  }

  std::optional<crypto::Ed25519KeyPair> ed25519_;  // or, one of the two
  std::optional<crypto::RsaPrivateKey> rsa_;
  Bytes public_key_message_;
  PeerId id_;
};

}  // namespace skep::inline v0::p2p
