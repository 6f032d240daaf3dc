// The Network concept: all that a DHT or an expert call needs of the world; real sockets and virtual time both model
// it.
#pragma once

#include <concepts>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "skep/async/awaitable.hpp"
#include "skep/core/random.hpp"
#include "skep/core/time.hpp"
#include "skep/p2p/payload.hpp"
#include "skep/p2p/peer_id.hpp"

namespace skep::inline v0::p2p {

/// The limit of Hivemind's unary messages, request and response alike.
inline constexpr std::size_t max_unary_size = 4 * 1024 * 1024;

/// Options of one call.
struct CallOptions {
  Duration timeout = 60s;                     ///< from the call to the whole answer; `unlimited` must be written
  std::size_t max_response = max_unary_size;  ///< longer answers fail with errc::limit_exceeded before allocation
};
static_assert(std::is_aggregate_v<CallOptions> && std::is_trivially_copyable_v<CallOptions>);

/// A unary request as its handler gets it.
struct Request {
  PeerId peer;                        ///< who called, authenticated by the handshake
  std::string method;                 ///< the handler's name
  Bytes body;                         ///< the request message; empty when the handler was registered with a sink
  std::shared_ptr<AnyBodySink> sink;  ///< the filled sink, when the handler was registered with one
};

/// Answers a unary call. What it throws goes to the caller as text and harms nobody else. It is cancelled when the
/// caller gives up.
using Handler = std::function<awaitable<Payload>(Request)>;
/// Makes the sink into which a request's body is received, before its first byte.
using SinkFactory = std::function<std::shared_ptr<AnyBodySink>(const PeerId& caller)>;

/// A call with many messages in both directions (Hivemind's streaming RPC). One reader and one writer at a time.
template <class S>
concept MessageStream = requires(S& stream, Payload message, std::shared_ptr<AnyBodySink> sink) {
  { stream.peer() } -> std::convertible_to<PeerId>;
  { stream.send(std::move(message)) } -> std::same_as<awaitable<void>>;   ///< returns when the storage is let go
  { stream.end_of_input() } -> std::same_as<awaitable<void>>;             ///< caller only: no more messages will come
  { stream.receive() } -> std::same_as<awaitable<std::optional<Bytes>>>;  ///< nullopt: the other side has ended
  { stream.receive_into(std::move(sink)) } -> std::same_as<awaitable<bool>>;  ///< false: the other side has ended
  stream.reset();  ///< gives up at once; also what a destructor does
};

/// Answers a streaming call; returning ends the answer, throwing ends it with an error record.
template <class Stream>
using StreamHandler = std::function<awaitable<void>(Stream)>;

/// What everything above p2p/ needs of the world. A Network lives on one executor; none of its members may be called
/// from another thread. With its clock, its random numbers and its executor as the only sources, the same code runs on
/// sockets and in virtual time, where a seed replays.
template <class N>
concept Network =
    Clock<N> && MessageStream<typename N::Stream> &&
    requires(N& net, PeerId peer, std::string method, Payload body, CallOptions options, Handler handler,
             SinkFactory sinks, std::shared_ptr<AnyBodySink> sink, StreamHandler<typename N::Stream> stream_handler) {
      { net.self() } -> std::convertible_to<PeerId>;
      { net.call(peer, method, std::move(body), options) } -> std::same_as<awaitable<Bytes>>;
      { net.call_into(peer, method, std::move(body), sink, options) } -> std::same_as<awaitable<void>>;
      { net.open(peer, method, options) } -> std::same_as<awaitable<typename N::Stream>>;
      net.handle(method, std::move(handler));
      net.handle(method, std::move(handler), std::move(sinks));
      net.handle_stream(method, std::move(stream_handler));
      net.remove_handler(method);
      net.close();
      { net.wall_now() } -> std::same_as<WallTime>;
      { net.random() } -> std::same_as<Random&>;
    };

}  // namespace skep::inline v0::p2p
