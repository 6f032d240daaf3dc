// CallGuard: the authorizer of a moderated swarm at the door of any other call, such as those of experts.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "skep/async/awaitable.hpp"
#include "skep/async/with_timeout.hpp"
#include "skep/codec/protobuf.hpp"
#include "skep/core/bytes.hpp"
#include "skep/core/result.hpp"
#include "skep/core/time.hpp"
#include "skep/dht/auth_error.hpp"
#include "skep/dht/authorizer.hpp"
#include "skep/p2p/network.hpp"
#include "skep/p2p/peer_id.hpp"

namespace skep::inline v0::dht {

/// What a caller signs: who calls which method. Who is called is in the authorization.
struct CallTicket {
  Bytes caller;  ///< peer id
  std::string method;

  void write(codec::MessageWriter& out) const {
    out.bytes_unless_default(2, caller);
    out.bytes_unless_default(3, as_bytes(method));
  }
  [[nodiscard]] Result<void> merge(BytesView bytes) {
    return codec::read_fields(bytes, [this](codec::FieldReader& field) -> Result<void> {
      switch (field.tag_and_type()) {
        case codec::bytes_field(2): caller = codec::bytes_of(field); return {};
        case codec::bytes_field(3): method = codec::text_of(field); return {};
        default: field.skip(); return {};
      }
    });
  }
};

/// Admits calls by tickets: a caller asks its guard for one, sends it along, the callee's guard judges it. A ticket is
/// good for one call, of one method, by one peer, to one peer, within a minute. The body of the call is not signed (it
/// may be gigabytes): the connection already proves that it is the caller's.
///
/// Expert calls carry it in their metadata (`moe::RequestMetadata::ticket`, in a stream's first message); a
/// `moe::Server` asks for it with `guard_calls`. Others do
/// `if (const auto ok = guard.authorize(peer, method, ticket); !ok) throw Error(ok.error(), ...)`.
///
/// *Lifetime:* a handle; one without an authorizer admits everybody and gives empty tickets. *Threads:* the network's.
template <p2p::Network N>
class CallGuard {
 public:
  CallGuard(N net, std::shared_ptr<Authorizer> authorizer) : net_(std::move(net)), authorizer_(std::move(authorizer)) {}

  /// Whether there is anything to check.
  explicit operator bool() const noexcept { return authorizer_ != nullptr; }

  /// A ticket for one call. Throws when no access token is to be had in time.
  [[nodiscard]] awaitable<Bytes> ticket(p2p::PeerId to, std::string method, Duration timeout = 60s) const {
    return ticket(net_, authorizer_, std::move(to), std::move(method), timeout);
  }

  /// Whether a call that arrived here may go on. @return an error of auth_errc, with a sentence, if not
  [[nodiscard]] Result<void> authorize(const p2p::PeerId& caller, std::string_view method, BytesView ticket) {
    if (!authorizer_) return {};
    const auto judged = authorizer_->validate_request(net_.self(), ticket, net_.wall_now());
    if (!judged) return judged.error();
    const auto said = codec::decode_message<CallTicket>(ticket);
    if (!said) return said.error();
    const BytesView bytes = caller.bytes();
    if (!std::equal(bytes.begin(), bytes.end(), said->caller.begin(), said->caller.end()) || said->method != method) {
      return auth_errc::wrong_caller;
    }
    return {};
  }

 private:
  static awaitable<Bytes> ticket(N net, std::shared_ptr<Authorizer> authorizer, p2p::PeerId to, std::string method,
                                 Duration timeout) {
    if (!authorizer) co_return Bytes();
    co_await with_timeout(net, timeout, authorizer->prepare(net.wall_now()), "getting an access token");
    const CallTicket ticket{to_bytes(net.self().bytes()), std::move(method)};
    co_return authorizer->sign_request(to, codec::encode_message(ticket), net.wall_now()).message;
  }

  N net_;
  std::shared_ptr<Authorizer> authorizer_;
};

}  // namespace skep::inline v0::dht
