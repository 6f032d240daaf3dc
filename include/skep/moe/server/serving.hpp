// Serving on the DHT's thread: the door is opened, the experts are declared again and again, until the server leaves.
#pragma once

#include <algorithm>
#include <cstddef>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "skep/async/awaitable.hpp"
#include "skep/async/cancellation.hpp"
#include "skep/async/event.hpp"
#include "skep/async/scope.hpp"
#include "skep/core/log.hpp"
#include "skep/core/time.hpp"
#include "skep/dht/node.hpp"
#include "skep/moe/declare.hpp"
#include "skep/moe/server/connection_handler.hpp"
#include "skep/p2p/host.hpp"

namespace skep::inline v0::moe {

namespace detail {

/// What the DHT's thread and the server's owner tell each other.
struct ServerOnNetwork {
  std::optional<Event> declared;  // the door is open and the experts were declared once, or will not be
  std::optional<Event> leave;
  bool closed = false;
};

/// Tells the DHT of the experts; a failure is logged and does not end the server. @return whether it worked
inline awaitable<bool> declare_once(dht::Node<p2p::Host> node, std::vector<std::string> uids, Duration expiration,
                                    Duration timeout) {
  try {
    const auto records = co_await declare_experts(node, uids, node.now() + expiration, {.timeout = timeout});
    const auto kept = std::ranges::count_if(records, [](const auto& record) { return bool(record.stored); });
    if (static_cast<std::size_t>(kept) == records.size()) co_return true;
    log(LogLevel::warning, "server",
        "only " + std::to_string(kept) + " of " + std::to_string(records.size()) +
            " records that declare the experts were kept by a majority of their replicas");
  } catch (const std::exception& e) {
    if (is_cancellation(std::current_exception())) throw;
    log(LogLevel::warning, "server",
        std::string("the experts could not be declared, will be tried again: ") + e.what());
  }
  co_return false;
}

/// Declares the experts, and again every period, after a failure sooner, until cancelled.
inline awaitable<void> keep_declared(std::shared_ptr<ServerOnNetwork> network, dht::Node<p2p::Host> node,
                                     std::vector<std::string> uids, Duration period, Duration expiration) {
  for (;;) {
    const bool worked = co_await declare_once(node, uids, expiration, period);
    network->declared->set();
    const Duration wait = worked ? period : period / 4;
    co_await node.network().sleep_until(node.network().steady_now() + wait);
  }
}

/// Serves until told to leave, or until the DHT ends.
inline awaitable<void> serve_experts(std::shared_ptr<ServerOnNetwork> network, dht::Node<p2p::Host> node,
                                     ExpertTable experts, ConnectionHandlerOptions options, Duration period,
                                     Duration expiration) {
  const Executor executor = node.network().executor();
  network->declared.emplace(executor);
  network->leave.emplace(executor);
  if (network->closed) {
    network->declared->set();
    co_return;
  }
  std::vector<std::string> uids;
  for (const auto& [uid, expert] : experts) uids.push_back(uid);
  ConnectionHandler<p2p::Host> handler(node.network(), std::move(experts), options);
  Scope declaring(executor, "server");
  declaring.spawn(keep_declared(network, node, std::move(uids), period, expiration));
  try {
    co_await network->leave->wait();
  } catch (const std::exception&) {  // the DHT shuts down
  }
  co_await clear_cancellation();
  handler.close();
  declaring.cancel();
  co_await declaring.join();
  network->declared->set();
}

inline awaitable<void> wait_until_declared(std::shared_ptr<ServerOnNetwork> network) {
  co_await network->declared->wait();
}

inline awaitable<void> ask_to_leave(std::shared_ptr<ServerOnNetwork> network) {
  network->closed = true;
  if (network->leave) network->leave->set();
  co_return;
}

}  // namespace detail

}  // namespace skep::inline v0::moe
