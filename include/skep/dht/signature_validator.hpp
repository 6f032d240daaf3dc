// SignatureValidator: records that only their owner may write, for any kind of signature.
#pragma once

#include <concepts>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "skep/core/bytes.hpp"
#include "skep/core/error.hpp"
#include "skep/dht/owner_tag.hpp"
#include "skep/dht/validator.hpp"

namespace skep::inline v0::dht {

/// A kind of signature: the names of its marks, its keys, and how texts come from them.
template <class S>
concept SignatureScheme = requires(const typename S::PrivateKey& key, std::string_view text, BytesView message) {
  { S::owner_name } -> std::convertible_to<std::string_view>;      ///< of the mark in subkeys
  { S::signature_name } -> std::convertible_to<std::string_view>;  ///< of the mark behind values
  { S::priority } -> std::convertible_to<int>;
  { S::default_key() } -> std::convertible_to<typename S::PrivateKey>;
  { S::owner_text(key) } -> std::same_as<std::string>;
  { S::sign(key, message) } -> std::same_as<std::string>;
  { S::verify(text, message, text) } -> std::same_as<bool>;  ///< owner, message, signature; never throws
};

/// Protects the records whose subkey holds an owner's tag, "[owner:ssh-rsa ...]" for RSA: only values that the owner
/// has signed are kept and believed, others are nobody's. Signs what this node stores under its own tag.
///
/// Only subkeys protect: nodes know a key by its hash alone, so a tag in a key would protect nothing (in Hivemind it
/// silently does not) and storing under one is refused.
template <SignatureScheme S>
class SignatureValidator {
 public:
  static constexpr int priority = S::priority;
  using PrivateKey = typename S::PrivateKey;

  SignatureValidator() : SignatureValidator(S::default_key()) {}
  explicit SignatureValidator(PrivateKey key)
      : tag_(make_mark(S::owner_name, S::owner_text(key))), key_(std::move(key)) {}
  /// One without a key, which owns nothing: it checks what others signed. Making an RSA key takes a tenth of a second.
  [[nodiscard]] static SignatureValidator checking_only() { return SignatureValidator(std::nullopt); }

  /// What a subkey has to contain, at any place, for its value to be this node's own; empty without a key.
  [[nodiscard]] const std::string& owner_tag() const noexcept { return tag_; }
  /// Null without a key.
  [[nodiscard]] const PrivateKey* private_key() const noexcept { return key_ ? &*key_ : nullptr; }

  [[nodiscard]] bool validate(const RecordView& record) const {
    const auto owners = find_marks(record.subkey, S::owner_name);
    if (owners.empty()) return true;
    for (const auto& owner : owners) {
      if (owner != owners.front()) return false;
    }
    const auto signatures = find_marks(record.value, S::signature_name);
    if (signatures.size() != 1) return false;
    const auto value = without_signature(record.value, signatures.front());
    return value && S::verify(owners.front(), message(record, *value), signatures.front());
  }

  /// Throws errc::invalid_argument for a value of one's own that holds what looks like a signature: nobody would take
  /// it.
  [[nodiscard]] Bytes sign(const RecordView& record) const {
    Bytes out = to_bytes(record.value);
    if (!key_ || as_text(record.subkey).find(tag_) == std::string_view::npos) return out;
    if (!find_marks(record.value, S::signature_name).empty()) {
      throw Error(errc::invalid_argument, "a value under a subkey with an owner's tag must not contain \"" +
                                              make_mark(S::signature_name, "...") + "\", where its signature stands");
    }
    append(out, as_bytes(make_mark(S::signature_name, S::sign(*key_, message(record, record.value)))));
    return out;
  }

  [[nodiscard]] Bytes strip(const RecordView& record, Bytes value) const {
    if (find_marks(record.subkey, S::owner_name).empty()) return value;
    const auto signatures = find_marks(value, S::signature_name);
    if (signatures.empty()) return value;
    if (const auto bare = without_signature(value, signatures.back())) value.resize(bare->size());
    return value;
  }

  void check_key(BytesView key) const {
    if (find_marks(key, S::owner_name).empty()) return;
    throw Error(errc::invalid_argument, "the key contains \"" + make_mark(S::owner_name, "...") +
                                            "\", but other nodes know a key only by its hash, so the owner's tag "
                                            "protects nothing there; put it into the subkey");
  }

 private:
  explicit SignatureValidator(std::nullopt_t) {}

  static Bytes message(const RecordView& record, BytesView value) {
    return bytes_to_sign(record.key, record.subkey, value, record.expiration);
  }
  /// What stands before a signature, if it is at the end.
  static std::optional<BytesView> without_signature(BytesView value, std::string_view signature) {
    const std::string mark = make_mark(S::signature_name, signature);
    if (!as_text(value).ends_with(mark)) return std::nullopt;
    return value.first(value.size() - mark.size());
  }

  std::string tag_;
  std::optional<PrivateKey> key_;
};

/// A node has one key of each kind: the first.
template <SignatureScheme S>
[[nodiscard]] SignatureValidator<S> join_validators(SignatureValidator<S> first, const SignatureValidator<S>&) {
  return first;
}

}  // namespace skep::inline v0::dht
