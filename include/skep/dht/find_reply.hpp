// FindReply: the answer to a find request, read where it lies: of most answers little is looked at.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "skep/codec/dht_messages.hpp"
#include "skep/codec/protobuf.hpp"
#include "skep/core/bytes.hpp"
#include "skep/core/error.hpp"
#include "skep/core/result.hpp"
#include "skep/dht/key.hpp"

namespace skep::inline v0::dht {

/// A `codec::FindResult` as views into the message.
class FindResultView {
 public:
  static constexpr std::size_t max_neighbours = 64;  // taken from one answer about one key

  /// @return errc::malformed, errc::truncated
  [[nodiscard]] static Result<FindResultView> read(BytesView message) {
    FindResultView view;
    view.message_ = message;
    const auto read = codec::read_fields(message, [&](codec::FieldReader& field) -> Result<void> {
      switch (field.tag_and_type()) {
        case codec::varint_field(1): {
          const std::uint64_t number = field.get_uint64();
          if (number > static_cast<std::uint64_t>(codec::FindResultType::found_dictionary)) return errc::malformed;
          view.type = static_cast<codec::FindResultType>(number);
          return {};
        }
        case codec::bytes_field(2): view.value = codec::view_of(field); return {};
        case codec::real_field(3): view.expiration_time = field.get_double(); return {};
        default: field.skip(); return {};
      }
    });
    if (!read) return read.error();
    return view;
  }

  /// Shows the nodes that it names, nearest first, those with a sound id: `visit(DHTID, peer id as bytes)`.
  template <class Visit>
  void for_each_neighbour(Visit visit) const {
    std::array<BytesView, max_neighbours> ids;
    std::array<BytesView, max_neighbours> peers;
    std::size_t id_count = 0;
    std::size_t peer_count = 0;
    const auto read = codec::read_fields(message_, [&](codec::FieldReader& field) -> Result<void> {
      const auto tag = field.tag_and_type();
      if (tag == codec::bytes_field(4) && id_count < max_neighbours) {
        ids[id_count++] = codec::view_of(field);
      } else if (tag == codec::bytes_field(5) && peer_count < max_neighbours) {
        peers[peer_count++] = codec::view_of(field);
      } else {
        field.skip();
      }
      return {};
    });
    if (!read) return;
    for (std::size_t i = 0; i < std::min(id_count, peer_count); ++i) {
      if (const auto id = DHTID::from_bytes(ids[i])) visit(*id, peers[i]);
    }
  }

  codec::FindResultType type = codec::FindResultType::not_found;
  BytesView value;
  double expiration_time = 0;

 private:
  BytesView message_;
};

/// A `codec::FindResponse` as views.
struct FindReply {
  std::vector<FindResultView> results;  ///< one for each key of the request
  codec::NodeInfo peer;

  /// @return errc::malformed, errc::truncated, errc::limit_exceeded
  [[nodiscard]] static Result<FindReply> read(BytesView response) {
    FindReply reply;
    const auto read = codec::read_fields(response, [&](codec::FieldReader& field) -> Result<void> {
      switch (field.tag_and_type()) {
        case codec::bytes_field(2): {
          auto result = FindResultView::read(codec::view_of(field));
          if (!result) return result.error();
          return codec::push_bounded(reply.results, codec::max_dht_entries, *std::move(result));
        }
        case codec::bytes_field(3): return reply.peer.merge(codec::view_of(field));
        default: field.skip(); return {};
      }
    });
    if (!read) return read.error();
    return reply;
  }
};

}  // namespace skep::inline v0::dht
