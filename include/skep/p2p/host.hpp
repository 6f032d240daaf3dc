// Host: a libp2p peer in a few lines. It listens, dials, calls and is called; models `Network`.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "skep/async/awaitable.hpp"
#include "skep/async/cancellation.hpp"
#include "skep/async/with_timeout.hpp"
#include "skep/codec/rpc_messages.hpp"
#include "skep/core/error.hpp"
#include "skep/core/new_shared.hpp"
#include "skep/core/time.hpp"
#include "skep/p2p/host_options.hpp"
#include "skep/p2p/host_state.hpp"
#include "skep/p2p/identify_service.hpp"
#include "skep/p2p/multiaddr.hpp"
#include "skep/p2p/network.hpp"
#include "skep/p2p/peer_id.hpp"
#include "skep/p2p/ping_service.hpp"
#include "skep/p2p/routing_service.hpp"
#include "skep/p2p/rpc_stream.hpp"
#include "skep/p2p/stream_call.hpp"
#include "skep/p2p/stream_service.hpp"
#include "skep/p2p/unary_call.hpp"
#include "skep/p2p/unary_service.hpp"

namespace skep::inline v0::p2p {

/// A peer of the swarm. Speaks libp2p over TCP with Noise and yamux, identify, ping, peer routing, and Hivemind's unary
/// and streaming RPC.
///
/// *Lifetime:* a handle; copies are the same host, which closes with the last of them. Coroutines started here keep
/// what they need. *Threads:* one executor, which must not run on several threads at once; no member may be called from
/// elsewhere. *Cancellation:* every awaitable may be cancelled; a call that is given up cancels its handler.
/// *Errors:* `Error` with one sentence: errc::unreachable, errc::timed_out, errc::closed, errc::limit_exceeded,
/// p2p::errc; `RemoteError` for what the peer says about itself.
class Host {
 public:
  using Stream = p2p::Stream;

  /// Listens at once. @throws Error for an address that cannot be listened on or an identity file that cannot be used
  explicit Host(Executor executor, HostOptions options = {})
      : owner_(new_shared<Owner>(new_shared<HostState>(std::move(executor), std::move(options)))) {
    const auto services = new_shared<Services>(state());
    services->install(state());
    state().services = services;
    state().listen();
  }
  template <class Context>
    requires requires(Context& context) {
      { context.get_executor() } -> std::convertible_to<Executor>;
    }
  explicit Host(Context& context, HostOptions options = {})
      : Host(Executor(context.get_executor()), std::move(options)) {}

  [[nodiscard]] const PeerId& self() const noexcept { return state().self(); }
  /// Where others reach this host, each with its /p2p at the end: to be given to them as initial peers.
  [[nodiscard]] std::vector<Multiaddr> addresses() const {
    auto out = state().addresses();
    for (auto& address : out) address = address.with_peer(self());
    return out;
  }
  /// Who is connected now.
  [[nodiscard]] std::vector<PeerId> peers() const { return state().peers(); }
  /// The program that a connected peer says it is, such as "skep/0.1": foreign text. Empty before it has told.
  [[nodiscard]] std::string agent(const PeerId& peer) const { return state().store().agent(peer); }
  /// Where a peer is said to be, without its /p2p.
  [[nodiscard]] std::vector<Multiaddr> addresses(const PeerId& peer) const {
    return state().store().addresses(peer, state().now());
  }
  /// What its connections have received and sent so far.
  [[nodiscard]] const Traffic& traffic() const noexcept { return state().traffic(); }
  /// Remembers an address of a peer, with or without its /p2p, for as long as the host lives.
  void add_address(const PeerId& peer, const Multiaddr& address) {
    state().store().add_address(peer, address.without_peer(), state().now(), SteadyTime::max());
  }

  /// Connects to an address; when it names a peer, only that peer will do. @return who is there
  [[nodiscard]] awaitable<PeerId> connect(Multiaddr address, CallOptions options = {}) {
    return connect_to(owner_->state, std::move(address), options);
  }
  /// The same for a text. @throws Error that says which part of it is wrong
  [[nodiscard]] awaitable<PeerId> connect(std::string_view address, CallOptions options = {}) {
    return connect(Multiaddr::parse(address), options);
  }

  /// Calls a unary handler and returns its answer.
  [[nodiscard]] awaitable<Bytes> call(PeerId peer, std::string method, Payload body, CallOptions options = {}) {
    return call_for_bytes(owner_->state, std::move(peer), std::move(method), std::move(body), options);
  }
  /// Calls a unary handler; its answer lands in `sink`, which alone bounds it.
  [[nodiscard]] awaitable<void> call_into(PeerId peer, std::string method, Payload body,
                                          std::shared_ptr<AnyBodySink> sink, CallOptions options = {}) {
    return call_for_sink(owner_->state, std::move(peer), std::move(method), std::move(body), std::move(sink), options);
  }
  /// Opens a streaming call. `options.timeout` bounds the connecting and then every single wait on the stream; a
  /// message may be as long as the larger of `options.max_response` and 8 MiB. Whether the peer knows the method shows
  /// at the first receive.
  [[nodiscard]] awaitable<Stream> open(PeerId peer, std::string method, CallOptions options = {}) {
    return open_stream(owner_->state, std::move(peer), std::move(method), options);
  }

  /// Answers unary calls of `method`, from now on instead of an earlier handler.
  void handle(std::string method, Handler handler) { handle(std::move(method), std::move(handler), SinkFactory{}); }
  /// The same, with bodies received into sinks.
  void handle(std::string method, Handler handler, SinkFactory sinks) {
    auto registration =
        new_shared<const UnaryRegistration>(UnaryRegistration{method, std::move(handler), std::move(sinks)});
    register_protocol(std::move(method), [weak = std::weak_ptr(owner_->state), registration](Connection& connection) {
      const auto state = weak.lock();
      return state ? std::make_shared<UnaryService>(state, registration, connection, state->tasks(),
                                                    state->options().limits.request_timeout)
                   : nullptr;
    });
  }
  /// Answers streaming calls of `method`.
  void handle_stream(std::string method, StreamHandler<Stream> handler) {
    auto shared = std::make_shared<const StreamHandler<Stream>>(std::move(handler));
    auto factory = [weak = std::weak_ptr(owner_->state), shared, method](Connection& connection) {
      std::shared_ptr<StreamCall> call;
      if (const auto state = weak.lock()) {
        const auto& limits = state->options().limits;
        call = std::make_shared<StreamCall>(StreamCall::Side::callee, state, connection.peer(), method,
                                            StreamLimits{limits.stream_timeout, limits.max_stream_message});
        state->turn().later(std::make_shared<StreamService>(call, shared, state->tasks(), connection.standing()));
      }
      return call;
    };
    register_protocol(std::move(method), std::move(factory));
  }
  /// Calls that run go on; new ones are refused.
  void remove_handler(std::string_view method) {
    if (state().protocols().erase(method) && state().hooks.protocols_changed) state().hooks.protocols_changed();
  }

  // Clock and the other sources of a Network
  [[nodiscard]] SteadyTime steady_now() const noexcept { return state().steady_now(); }
  [[nodiscard]] WallTime wall_now() const noexcept { return state().wall_now(); }
  [[nodiscard]] awaitable<void> sleep_until(SteadyTime when) const { return state().sleep_until(when); }
  [[nodiscard]] const Executor& executor() const noexcept { return state().executor(); }
  [[nodiscard]] Random& random() const noexcept { return state().random(); }
  [[nodiscard]] Deadlines& deadlines() const noexcept { return state().deadlines(); }

  /// Asks a peer for a sign of life. @return the round trip
  [[nodiscard]] awaitable<Duration> ping(PeerId peer, CallOptions options = {}) {
    return ping_peer(owner_->state, std::move(peer), options);
  }

  /// Closes listeners and connections and cancels everything that runs. Idempotent; does not wait.
  void close() { state().close(); }
  /// After close(): completes when nothing of the host runs any more.
  [[nodiscard]] awaitable<void> join() { return HostState::join(owner_->state); }

 private:
  struct Services {
    explicit Services(HostState& state)
        : routing(state),
          identify(new_shared<IdentifyService>(state, [this](const auto& connection, const auto& description) {
            const auto& protocols = description.protocols;
            routing.identified(connection->peer(),
                               std::find(protocols.begin(), protocols.end(), routing_protocol) != protocols.end());
          })) {}

    void install(HostState& state) {
      identify->install();
      if (state.options().serve_routing) routing.install();
      state.protocols().insert(std::string(ping_protocol), [&state](Connection&) {
        return new_shared<PingService>(state.shared_from_this(), state.options().limits.ping_idle_timeout);
      });
      state.hooks.connected = [this](const auto& connection) { identify->connected(connection); };
      state.hooks.protocols_changed = [this] { identify->protocols_changed(); };
      state.hooks.find_peer = [this, &state](PeerId peer) {
        return RoutingService::find(state.shared_from_this(), routing, std::move(peer));
      };
    }

    RoutingService routing;
    std::shared_ptr<IdentifyService> identify;
  };

  // Closes the host when the last handle is gone.
  struct Owner {
    explicit Owner(std::shared_ptr<HostState> owned) : state(std::move(owned)) {}
    Owner(const Owner&) = delete;
    Owner& operator=(const Owner&) = delete;
    ~Owner() { state->close(); }
    const std::shared_ptr<HostState> state;
  };
  using Shared = std::shared_ptr<HostState>;

  // A call whose coroutine is destroyed before its end.
  struct Abandon {
    explicit Abandon(UnaryCall& of) : call(of) {}
    ~Abandon() { call.abandon(); }
    Abandon(const Abandon&) = delete;
    Abandon& operator=(const Abandon&) = delete;
    UnaryCall& call;
  };

  [[nodiscard]] HostState& state() const noexcept { return *owner_->state; }

  void register_protocol(std::string method, StreamFactory factory) {
    state().protocols().insert(std::move(method), std::move(factory));
    if (state().hooks.protocols_changed) state().hooks.protocols_changed();
  }

  static awaitable<PeerId> connect_to(Shared state, Multiaddr address, CallOptions options) {
    const SteadyTime deadline = deadline_after(state->now(), options.timeout);
    const auto peer = address.peer_id();
    if (!peer) co_return co_await HostState::connect_anybody(state, std::move(address), deadline);
    state->store().add_address(*peer, address.without_peer(), state->now(), deadline_after(state->now(), 30min));
    co_await HostState::connection_to(state, *peer, deadline);
    co_return *peer;
  }

  static awaitable<Duration> ping_peer(Shared state, PeerId peer, CallOptions options) {
    const auto connection =
        co_await HostState::connection_to(state, peer, deadline_after(state->now(), options.timeout));
    try {
      co_return co_await p2p::ping(state, connection, options.timeout);
    } catch (const Error&) {
      throw;
    } catch (const std::system_error& error) {
      if (is_cancellation(error.code())) throw;
      throw Error(error.code(), "the ping of " + peer.to_string() + " failed: " + detail::in_sentence(error.code()));
    }
  }

  static awaitable<Bytes> call_for_bytes(Shared state, PeerId peer, std::string method, Payload body,
                                         CallOptions options) {
    const SteadyTime deadline = deadline_after(state->now(), options.timeout);
    auto connection = state->find(peer);
    if (!connection) connection = co_await HostState::connection_to(state, peer, deadline);
    BytesSink sink(options.max_response);
    const auto call = start_call(state, *connection, peer, method, std::move(body), sink, deadline);
    const Abandon guard(*call);
    if (!call->done()) co_await call->wait();
    check(*call, peer, method, options);
    co_return std::move(sink).take();
  }

  static awaitable<void> call_for_sink(Shared state, PeerId peer, std::string method, Payload body,
                                       std::shared_ptr<AnyBodySink> sink, CallOptions options) {
    const SteadyTime deadline = deadline_after(state->now(), options.timeout);
    auto connection = state->find(peer);
    if (!connection) connection = co_await HostState::connection_to(state, peer, deadline);
    const auto call = start_call(state, *connection, peer, method, std::move(body), *sink, deadline);
    const Abandon guard(*call);
    if (!call->done()) co_await call->wait();
    check(*call, peer, method, options);
  }

  static std::shared_ptr<UnaryCall> start_call(const Shared& state, Connection& connection, const PeerId& peer,
                                               const std::string& method, Payload body, AnyBodySink& sink,
                                               SteadyTime deadline) {
    const auto head = codec::encode_unary_request_head(state->next_call_id(), peer.bytes(), method, body.size());
    if (!head) {
      throw Error(head.error(), "a request of " + std::to_string(body.size()) + " bytes to " + method +
                                    " is longer than a unary call may be (4 MiB); use a streaming call");
    }
    Bytes out = protocol_greeting(method);
    const std::size_t greeting_size = out.size();
    append(out, *head);
    auto call = std::make_shared<UnaryCall>(state, std::move(body), sink);
    if (const auto started = call->start(connection, greeting_size, std::move(out), deadline); !started) {
      throw Error(started.error(),
                  "cannot call " + method + " of " + peer.to_string() + ": " + started.error().message());
    }
    return call;
  }

  static void check(UnaryCall& call, const PeerId& peer, const std::string& method, const CallOptions& options) {
    if (const auto error = call.error()) {
      if (is_cancellation(error)) throw_cancelled();
      std::string text = "the call of " + method + " at " + peer.to_string();
      if (error == skep::errc::timed_out) {
        text += " was not answered within " + skep::detail::describe_wait(options.timeout);
      } else if (error == errc::protocol_not_supported) {
        text += " was refused: the peer has no such method";
      } else {
        text += " failed: " + detail::in_sentence(error);
      }
      throw Error(error, text);
    }
    if (call.failed_remotely()) throw RemoteError(method + " at " + peer.to_string(), call.remote_text());
  }

  static awaitable<Stream> open_stream(Shared state, PeerId peer, std::string method, CallOptions options) {
    auto connection = state->find(peer);
    if (!connection) {
      connection = co_await HostState::connection_to(state, peer, deadline_after(state->now(), options.timeout));
    }
    const StreamLimits limits{options.timeout,
                              std::max(options.max_response, state->options().limits.max_stream_message)};
    auto call = std::make_shared<StreamCall>(StreamCall::Side::caller, state, peer, method, limits);
    if (const auto started = call->start(*connection); !started) {
      throw Error(started.error(),
                  "cannot call " + method + " of " + peer.to_string() + ": " + started.error().message());
    }
    co_return Stream(std::move(call), true);
  }

  std::shared_ptr<Owner> owner_;
};

static_assert(Network<Host>);

}  // namespace skep::inline v0::p2p
