// Dialer: connects to a peer at the first of its addresses that works. Addresses are tried one after the other with a
// short head start each (RFC 8305), the first finished upgrade wins, the others are cancelled.
#pragma once

#include <asio/connect.hpp>
#include <asio/error.hpp>
#include <asio/ip/tcp.hpp>
#include <cctype>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "skep/async/awaitable.hpp"
#include "skep/async/cancellation.hpp"
#include "skep/async/event.hpp"
#include "skep/async/scope.hpp"
#include "skep/async/with_timeout.hpp"
#include "skep/core/error.hpp"
#include "skep/core/new_shared.hpp"
#include "skep/core/time.hpp"
#include "skep/p2p/host_options.hpp"
#include "skep/p2p/multiaddr.hpp"
#include "skep/p2p/noise.hpp"
#include "skep/p2p/upgrade.hpp"

namespace skep::inline v0::p2p {

/// How one address was tried in vain.
struct DialFailure {
  Multiaddr address;
  std::error_code why;
};

/// What a dial led to: a connection, or one failure for each address.
struct DialResult {
  std::optional<Upgraded> connection;
  std::optional<Multiaddr> address;  ///< that of the connection
  std::vector<DialFailure> failures;
  Duration took{};
};

namespace detail {

/// A code's message as part of a sentence: "connection refused".
[[nodiscard]] inline std::string in_sentence(const std::error_code& code) {
  if (code == skep::errc::timed_out || code == asio::error::timed_out) return "timed out";
  std::string text = code.message();
  if (text.size() > 1 && std::islower(static_cast<unsigned char>(text[1]))) {
    text[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(text[0])));
  }
  return text;
}

[[nodiscard]] inline std::error_code code_of(const std::exception_ptr& thrown) {
  try {
    std::rethrow_exception(thrown);
  } catch (const std::system_error& error) {
    return error.code();
  } catch (...) {
    return make_error_code(std::errc::not_enough_memory);
  }
}

/// A look-up of a name. Asio's own cannot be given up while getaddrinfo runs; this one is left to itself, so that time
/// limits hold. What runs keeps the executor busy until it ends.
struct LookUp {
  explicit LookUp(const Executor& executor) : resolver(executor), done(executor) {}

  /// @throws std::system_error
  static awaitable<void> run(std::shared_ptr<LookUp> self, const std::string& host, std::uint16_t port) {
    self->resolver.async_resolve(host, std::to_string(port),
                                 [self](const std::error_code& error, asio::ip::tcp::resolver::results_type found) {
                                   self->error = error;
                                   self->found = std::move(found);
                                   self->done.set();
                                 });
    try {
      co_await self->done.wait();
    } catch (...) {
      self->resolver.cancel();  // one that has not begun never will
      throw;
    }
    if (self->error) throw std::system_error(self->error);
  }

  asio::ip::tcp::resolver resolver;
  Event done;
  std::error_code error;
  asio::ip::tcp::resolver::results_type found;
};

/// Connects and upgrades; sockets are closed when it fails or is cancelled.
[[nodiscard]] inline awaitable<Upgraded> dial_address(TcpEndpoint endpoint,
                                                      std::shared_ptr<const NoiseCredentials> credentials,
                                                      PeerId expected) {
  const auto executor = co_await asio::this_coro::executor;
  asio::ip::tcp::socket socket(executor);
  if (endpoint.is_name()) {
    const auto look_up = new_shared<LookUp>(executor);
    co_await LookUp::run(look_up, endpoint.host, endpoint.port);
    std::error_code last = asio::error::host_not_found;
    for (const auto& entry : look_up->found) {
      const auto address = entry.endpoint().address();
      if (endpoint.kind == MultiaddrCode::dns4 && !address.is_v4()) continue;
      if (endpoint.kind == MultiaddrCode::dns6 && !address.is_v6()) continue;
      std::error_code ignored;
      socket.close(ignored);
      last.clear();
      try {
        co_await socket.async_connect(entry.endpoint(), use_awaitable);
        break;
      } catch (const std::system_error& error) {
        last = error.code();
      }
      if (is_cancellation(last)) break;
    }
    if (last) throw std::system_error(last);
  } else {
    std::error_code bad;
    const auto address = asio::ip::make_address(endpoint.host, bad);
    if (bad) throw std::system_error(bad);
    co_await socket.async_connect({address, endpoint.port}, use_awaitable);
  }
  socket.set_option(asio::ip::tcp::no_delay(true));
  co_return co_await upgrade(std::move(socket), yamux::Role::dialer, std::move(credentials), std::move(expected));
}

}  // namespace detail

/// Why a peer could not be reached, in one sentence: "cannot reach 12D3KooW... at /ip4/192.0.2.5/tcp/31337: connection
/// refused (tried 2 addresses in 1.0 s)".
/// @param left_alone  nothing was tried: how long its known addresses are left alone after earlier failures
[[nodiscard]] inline Error unreachable(const PeerId& peer, const DialResult& result,
                                       std::optional<Duration> left_alone = {}) {
  std::string text = "cannot reach ";
  if (result.failures.empty()) {
    text += peer.to_string();
    text += left_alone ? ": its addresses failed a moment ago and are left alone for another " +
                             std::to_string(*left_alone / 1s + 1) + " s"
                       : std::string(": no address of it is known, and no peer knew one");
    return Error(skep::errc::unreachable, text);
  }
  const DialFailure& first = result.failures.front();
  const auto tenths = result.took / 100ms;
  if (!peer.empty()) text += peer.to_string() + " at ";
  text += first.address.to_string() + ": " + detail::in_sentence(first.why) + " (tried " +
          std::to_string(result.failures.size()) + (result.failures.size() == 1 ? " address in " : " addresses in ") +
          std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " s)";
  const bool wrong_peer = result.failures.size() == 1 && first.why == errc::wrong_peer;
  return Error(wrong_peer ? first.why : make_error_code(skep::errc::unreachable), text);
}

/// One peer, all its addresses. `clock` must live until the end.
template <Clock C>
class Dialer {
 public:
  Dialer(C& clock, std::shared_ptr<const NoiseCredentials> credentials, const HostLimits& limits)
      : clock_(clock), credentials_(std::move(credentials)), limits_(limits) {}

  /// @param expected   who must answer; empty: anybody
  /// @param addresses  in the order of preference; those that are not plain TCP fail
  [[nodiscard]] awaitable<DialResult> dial(PeerId expected, std::vector<Multiaddr> addresses) {
    const SteadyTime begin = clock_.steady_now();
    auto race = new_shared<Race>(clock_.executor());
    race->left = addresses.size();
    Scope attempts(clock_.executor(), "p2p dial");
    std::exception_ptr interrupted;
    try {
      for (std::size_t i = 0; i < addresses.size() && !race->result.connection; ++i) {
        race->news.reset();
        attempts.spawn(attempt(race, expected, addresses[i]));
        if (i + 1 < addresses.size()) co_await pause(race, limits_.dial_stagger);
      }
      while (race->left > 0 && !race->result.connection) {
        race->news.reset();
        co_await race->news.wait();
      }
    } catch (...) {
      interrupted = std::current_exception();
    }
    attempts.cancel();
    const bool cancelled = is_cancelled(co_await asio::this_coro::cancellation_state);
    co_await clear_cancellation();
    co_await attempts.join();
    if (cancelled && !interrupted) throw_cancelled();
    if (interrupted) std::rethrow_exception(interrupted);
    race->result.took = clock_.steady_now() - begin;
    co_return std::move(race->result);
  }

 private:
  struct Race {
    explicit Race(Executor executor) : news(std::move(executor)) {}
    DialResult result;
    Event news;
    std::size_t left = 0;
  };

  awaitable<void> attempt(std::shared_ptr<Race> race, PeerId expected, Multiaddr address) {
    std::exception_ptr thrown;
    std::optional<Upgraded> upgraded;
    try {
      const auto endpoint = address.tcp();
      if (!endpoint) throw std::system_error(make_error_code(std::errc::address_family_not_supported));
      upgraded = co_await with_timeout(clock_, limits_.dial_timeout,
                                       detail::dial_address(*endpoint, credentials_, std::move(expected)), "a dial");
    } catch (...) {
      thrown = std::current_exception();
    }
    --race->left;
    if (thrown) {
      race->result.failures.push_back({std::move(address), detail::code_of(thrown)});
    } else if (!race->result.connection) {
      race->result.connection = std::move(upgraded);
      race->result.address = std::move(address);
    }
    race->news.set();
  }

  // Waits for the head start to be over, or for an attempt to end.
  awaitable<void> pause(std::shared_ptr<Race> race, Duration stagger) {
    try {
      co_await with_timeout(clock_, stagger, race->news.wait(), "a head start");
    } catch (const Error& error) {
      if (error.code() != skep::errc::timed_out) throw;
    }
  }

  C& clock_;
  std::shared_ptr<const NoiseCredentials> credentials_;
  HostLimits limits_;
};

}  // namespace skep::inline v0::p2p
