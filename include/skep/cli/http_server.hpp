// HttpServer: shows one page to whoever asks over HTTP, on the thread of a DHT.
#pragma once

#include <asio/buffer.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/redirect_error.hpp>
#include <asio/write.hpp>
#include <cstddef>
#include <exception>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include "skep/async/awaitable.hpp"
#include "skep/async/cancellation.hpp"
#include "skep/async/event.hpp"
#include "skep/async/scope.hpp"
#include "skep/async/with_timeout.hpp"
#include "skep/cli/http.hpp"
#include "skep/core/error.hpp"
#include "skep/core/log.hpp"
#include "skep/core/time.hpp"
#include "skep/dht/dht.hpp"
#include "skep/p2p/listener.hpp"
#include "skep/p2p/multiaddr.hpp"

namespace skep::inline v0::cli {

/// Limits of an HttpServer.
struct HttpLimits {
  std::size_t connections = 16;  ///< at a time; others are closed at once
  Duration deadline = 10s;       ///< for a connection from its beginning to its end
};

/// Answers GET requests for one page until it is destroyed. No thread of its own: the page's text is made on the DHT's
/// thread and must not block it.
///
/// *Lifetime:* the destructor returns when nothing of it runs any more; what the page refers to must live until then.
/// *Threads:* made and destroyed by threads that may block. *Errors:* an address that cannot be listened on throws.
class HttpServer {
  using Acceptor = asio::ip::tcp::acceptor;
  using Socket = asio::ip::tcp::socket;

 public:
  /// Listens at once. @param address  `/ip4/127.0.0.1/tcp/9100` or so; port 0 lets the kernel choose
  HttpServer(dht::DHT dht, const p2p::Multiaddr& address, HttpPage page, HttpLimits limits = {})
      : dht_(std::move(dht)), state_(std::make_shared<State>(dht_.executor(), std::move(page), limits)) {
    state_->acceptor = p2p::listen_on(dht_.executor(), address);
    const auto local = state_->acceptor->local_endpoint();
    const std::string host = local.address().to_string();
    url_ = "http://" + (local.address().is_v6() ? "[" + host + "]" : host) + ":" + std::to_string(local.port()) +
           state_->page.path;
    serving_ =
        dht_.run_coroutine_future([state = state_](dht::Node<p2p::Host> node) { return serve(state, node.network()); });
  }
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;
  ~HttpServer() {
    try {
      dht_.run_coroutine([state = state_](const auto&) { return leave(state); });
    } catch (const std::exception&) {  // the DHT is closed, and nothing runs on its thread
    }
    serving_.wait();
  }

  /// Where the page is; on all interfaces with 0.0.0.0 in it.
  [[nodiscard]] const std::string& url() const noexcept { return url_; }

 private:
  struct State {
    State(const Executor& executor, HttpPage shown, HttpLimits chosen)
        : page(std::move(shown)), limits(chosen), left(executor), scope(executor, "http") {}

    HttpPage page;
    HttpLimits limits;
    std::shared_ptr<Acceptor> acceptor;
    Event left;
    Scope scope;
  };

  static awaitable<void> serve(std::shared_ptr<State> state, p2p::Host host) {
    state->scope.spawn(accept_loop(state, host));
    try {
      co_await state->left.wait();
    } catch (const std::exception&) {  // the DHT shuts down
    }
    co_await clear_cancellation();
    std::error_code ignored;
    state->acceptor->close(ignored);
    state->scope.cancel();
    co_await state->scope.join();
  }

  static awaitable<void> leave(std::shared_ptr<State> state) {
    state->left.set();
    co_return;
  }

  static awaitable<void> accept_loop(std::shared_ptr<State> state, p2p::Host host) {
    for (;;) {
      std::error_code failed;
      std::optional<Socket> socket;
      try {
        socket = co_await state->acceptor->async_accept(use_awaitable);
      } catch (const std::system_error& error) {
        failed = error.code();
      }
      if (is_cancellation(failed)) co_return;
      if (failed) {  // out of descriptors, most likely: others will be closed
        log(LogLevel::warning, "http", "cannot accept a connection: " + failed.message());
        co_await host.sleep_until(host.steady_now() + 100ms);
      } else if (state->scope.size() <= state->limits.connections) {  // this loop is one of them
        state->scope.spawn(bounded(state, host, *std::move(socket)));
      }
    }
  }

  static awaitable<void> bounded(std::shared_ptr<State> state, p2p::Host host, Socket socket) {
    const Duration deadline = state->limits.deadline;
    try {
      co_await with_timeout(host, deadline, talk(std::move(state), std::move(socket)), "a request over HTTP");
    } catch (const std::system_error& error) {
      if (is_cancellation(error.code())) throw;
      log(LogLevel::debug, "http", error.what());
    }
  }

  static awaitable<void> talk(std::shared_ptr<State> state, Socket socket) {
    std::string received;
    std::string buffer(1024, '\0');
    std::optional<std::string> answer;
    while (!answer) {
      const auto n = co_await socket.async_read_some(asio::buffer(buffer), use_awaitable);
      received.append(buffer, 0, n);
      answer = answer_http(received, state->page);
    }
    co_await asio::async_write(socket, asio::buffer(*answer), use_awaitable);
    socket.shutdown(Socket::shutdown_send);
    for (std::error_code over; !over;) {  // closing before the client has, with bytes unread, could cost it the answer
      co_await socket.async_read_some(asio::buffer(buffer), asio::redirect_error(use_awaitable, over));
    }
  }

  dht::DHT dht_;
  std::shared_ptr<State> state_;
  std::string url_;
  std::future<void> serving_;
};

}  // namespace skep::inline v0::cli
