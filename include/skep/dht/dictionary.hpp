// Dictionary: a record made of subkeys that expire one by one (Hivemind's DictionaryDHTValue).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <utility>

#include "skep/codec/msgpack.hpp"
#include "skep/core/bytes.hpp"
#include "skep/core/error.hpp"
#include "skep/core/result.hpp"
#include "skep/core/time.hpp"

namespace skep::inline v0::dht {

/// Serialized bytes and the moment up to which they are valid.
struct Item {
  Bytes value;
  WallTime expiration;
  std::uint64_t source = 0;  ///< whose share of a storage it counts towards: a hash of the peer, 0 for this node itself

  /// Where it comes from makes no difference.
  friend bool operator==(const Item& a, const Item& b) noexcept {
    return a.value == b.value && a.expiration == b.expiration;
  }
};

struct BytesLess {
  using is_transparent = void;
  bool operator()(BytesView a, BytesView b) const noexcept {
    return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end());
  }
};

/// The smallest MessagePack form of a subkey, so that one subkey has one name. @return what `msgpack::decode` returns
[[nodiscard]] inline Result<Bytes> canonical_subkey(BytesView subkey) {
  if (subkey.size() == 1 && subkey[0] < 0x80) return to_bytes(subkey);  // a small number: has one form only
  const auto value = codec::msgpack::decode(subkey);
  if (!value) return value.error();
  return codec::msgpack::encode(*value);
}

/// Values by the MessagePack bytes of their subkeys, each with its own expiration; the newer of two values is kept.
class Dictionary {
 public:
  using Items = std::map<Bytes, Item, BytesLess>;

  /// Keeps an item unless the one that is there lives as long. @return whether it was kept
  bool store(Bytes subkey, Item item) {
    const auto [place, fresh] = items_.try_emplace(std::move(subkey));
    if (!fresh && !(place->second.expiration < item.expiration)) return false;
    latest_ = std::max(latest_, item.expiration);
    place->second = std::move(item);
    return true;
  }
  void drop_expired(WallTime now) {
    std::erase_if(items_, [now](const auto& entry) { return entry.second.expiration <= now; });
  }
  /// Drops the items for which `wanted(subkey, item)` is false, as if they had never been there.
  template <class Wanted>
  void keep_if(Wanted wanted) {
    latest_ = {};
    std::erase_if(items_, [&](const auto& entry) {
      if (!wanted(BytesView(entry.first), entry.second)) return true;
      latest_ = std::max(latest_, entry.second.expiration);
      return false;
    });
  }
  /// Takes over the items of another one that live longer than what is here.
  void merge(Dictionary other) {
    items_.merge(other.items_);
    for (auto& [subkey, item] : other.items_) {  // those that are here already
      Item& mine = items_.find(subkey)->second;
      if (mine.expiration < item.expiration) mine = std::move(item);
    }
    latest_ = std::max(latest_, other.latest_);
  }

  [[nodiscard]] const Items& items() const noexcept { return items_; }
  [[nodiscard]] const Item* find(BytesView subkey) const noexcept {
    const auto place = items_.find(subkey);
    return place == items_.end() ? nullptr : &place->second;
  }
  [[nodiscard]] bool empty() const noexcept { return items_.empty(); }
  /// When the last item expires.
  [[nodiscard]] WallTime latest() const noexcept { return latest_; }

  /// Extension 0x50: an array of the size limit (infinite), the latest expiration, and [subkey, value, expiration]
  /// triples of the items that are still valid.
  [[nodiscard]] Bytes encode(WallTime now) const {
    std::size_t count = 0;
    Bytes triples;
    for (const auto& [subkey, item] : items_) {
      if (item.expiration <= now) continue;
      ++count;
      codec::msgpack::append_array_head(triples, 3);
      append(triples, subkey);
      codec::msgpack::append_binary(triples, item.value);
      codec::msgpack::append_real(triples, item.expiration.seconds);
    }
    Bytes head;
    codec::msgpack::append_array_head(head, 3);
    codec::msgpack::append_real(head, std::numeric_limits<double>::infinity());
    codec::msgpack::append_real(head, latest_.seconds);
    codec::msgpack::append_array_head(head, count);
    Bytes out;
    codec::msgpack::append_extension_head(out, codec::msgpack::dictionary_extension, head.size() + triples.size());
    append(out, head);
    append(out, triples);
    return out;
  }

  /// @return errc::malformed, errc::truncated, errc::limit_exceeded (a subkey nested too deeply)
  /// @param source  of its items
  [[nodiscard]] static Result<Dictionary> decode(BytesView bytes, std::uint64_t source = 0) {
    using codec::msgpack::Kind;
    codec::msgpack::Reader outer(bytes);
    const auto extension = outer.expect(Kind::extension);
    if (!extension) return extension.error();
    if (extension->extension_type != codec::msgpack::dictionary_extension || !outer.at_end()) return errc::malformed;
    codec::msgpack::Reader reader(extension->bytes);
    const auto fields = reader.expect(Kind::array);
    if (!fields) return fields.error();
    if (fields->count() != 3) return errc::malformed;
    if (const auto limit = reader.skip(); !limit) return limit.error();    // ours hold
    if (const auto latest = real(reader); !latest) return latest.error();  // follows from the items
    const auto triples = reader.expect(Kind::array);
    if (!triples) return triples.error();
    Dictionary out;
    for (std::size_t i = 0; i < triples->count(); ++i) {
      const auto triple = reader.expect(Kind::array);
      if (!triple) return triple.error();
      if (triple->count() != 3) return errc::malformed;
      const auto raw = reader.skip();
      if (!raw) return raw.error();
      auto subkey = canonical_subkey(*raw);
      if (!subkey) return subkey.error();
      const auto value = reader.expect(Kind::binary);
      if (!value) return value.error();
      const auto expiration = real(reader);
      if (!expiration) return expiration.error();
      if (!std::isfinite(*expiration)) return errc::malformed;
      out.store(*std::move(subkey), {to_bytes(value->bytes), {*expiration}, source});
    }
    if (!reader.at_end()) return errc::malformed;
    return out;
  }

  friend bool operator==(const Dictionary&, const Dictionary&) = default;

 private:
  /// A float, or an integer in its stead, as Python writers may send.
  static Result<double> real(codec::msgpack::Reader& reader) {
    const auto token = reader.next();
    if (!token) return token.error();
    if (token->kind == codec::msgpack::Kind::real) return token->real();
    if (token->kind == codec::msgpack::Kind::integer) return static_cast<double>(token->integer());
    return errc::malformed;
  }

  Items items_;
  WallTime latest_{-std::numeric_limits<double>::infinity()};
};

}  // namespace skep::inline v0::dht
