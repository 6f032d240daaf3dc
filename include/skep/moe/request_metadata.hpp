// RequestMetadata: what skep's clients say of a request beside its tensors; Hivemind neither writes nor reads it.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <utility>

#include "skep/codec/msgpack.hpp"
#include "skep/codec/protobuf.hpp"
#include "skep/core/bytes.hpp"
#include "skep/core/time.hpp"
#include "skep/p2p/payload.hpp"

namespace skep::inline v0::moe {

/// The field `metadata` of an ExpertRequest, and by skep's own extension of an ExpertUID (wire: 3 in both): a
/// MessagePack map, of which unknown keys are skipped.
struct RequestMetadata {
  /// "timeout", seconds as a real: how long the caller waits, counted from when it began to send. After that the
  /// request is worth nothing, and a server need not compute it. A duration, so that clocks need not agree.
  std::optional<Duration> timeout = {};
  /// "ticket", bytes: what `dht::CallGuard` gave for this call, for servers of a moderated swarm. Empty: none.
  Bytes ticket = {};

  [[nodiscard]] Bytes encode() const {
    codec::msgpack::Map map;
    if (timeout) map.emplace_back("timeout", std::chrono::duration<double>(*timeout).count());
    if (!ticket.empty()) map.emplace_back("ticket", ticket);
    return codec::msgpack::encode(map);
  }
  /// Puts it before a request's other fields, unless it says nothing: it is known before a tensor arrives.
  void prepend_to(p2p::Payload& request) const {
    if (!timeout && ticket.empty()) return;
    const Bytes encoded = encode();
    Bytes field;
    codec::append_field_head(field, 3, encoded.size());
    append(field, encoded);
    request.prepend(std::move(field));
  }
  /// What can be read of it; anything else is as if it had not been sent.
  [[nodiscard]] static RequestMetadata decode(BytesView bytes) {
    RequestMetadata metadata;
    if (bytes.empty()) return metadata;
    const auto value = codec::msgpack::decode(bytes);
    const auto* held = value ? value->find("ticket") : nullptr;
    if (const auto* ticket = held ? held->get_if<Bytes>() : nullptr) metadata.ticket = *ticket;
    const auto* seconds = value ? value->find("timeout") : nullptr;
    if (seconds == nullptr) return metadata;
    constexpr double longest = 1e6;
    if (const auto* real = seconds->get_if<double>(); real && std::isfinite(*real)) {
      metadata.timeout =
          std::chrono::duration_cast<Duration>(std::chrono::duration<double>(std::clamp(*real, 0., longest)));
    } else if (const auto* whole = seconds->get_if<std::int64_t>()) {
      metadata.timeout = std::chrono::seconds(std::clamp<std::int64_t>(*whole, 0, static_cast<std::int64_t>(longest)));
    }
    return metadata;
  }
};

}  // namespace skep::inline v0::moe
