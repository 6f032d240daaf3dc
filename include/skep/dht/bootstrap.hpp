// bootstrap: how a node joins a swarm.
#pragma once

#include <cmath>
#include <cstddef>
#include <exception>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "skep/async/awaitable.hpp"
#include "skep/async/cancellation.hpp"
#include "skep/async/event.hpp"
#include "skep/core/error.hpp"
#include "skep/core/log.hpp"
#include "skep/core/time.hpp"
#include "skep/dht/drive.hpp"
#include "skep/dht/protocol.hpp"
#include "skep/p2p/peer_id.hpp"

namespace skep::inline v0::dht::detail {

/// Clocks may differ by this much (Hivemind's MAX_DHT_TIME_DISCREPANCY_SECONDS).
inline constexpr std::chrono::duration<double> max_clock_difference = 3s;

/// What became of greeting the initial peers; shared with the greetings that nobody waits for any more.
struct Greetings {
  explicit Greetings(const Executor& executor) : news(executor) {}

  Event news;
  std::size_t pending = 0;
  std::size_t welcomed = 0;
  std::vector<std::string> failures;  // who did not answer, and why
  std::string objection;              // what an initial peer found wrong with us, or we with its clock
};

/// Says why an initial peer's answer is not good enough, or nothing.
inline std::string objection_to(const p2p::PeerId& peer, const Pong& pong, WallTime sent, WallTime received,
                                bool client_mode) {
  if (!pong.available && !client_mode) {
    return "initial peer " + peer.to_string() +
           " cannot call this node back, so others could not reach it either; open its port, or join with client_mode";
  }
  if (pong.time == WallTime{}) return {};
  const double behind = (sent - pong.time).count();
  const double ahead = (pong.time - received).count();
  const double difference = std::max(behind, ahead);
  if (difference <= max_clock_difference.count()) return {};
  return "the clock of initial peer " + peer.to_string() + " and ours differ by " +
         std::to_string(std::lround(difference)) + " s, more than " +
         std::to_string(std::lround(max_clock_difference.count())) + " s; set both by a time server";
}

template <class State>
awaitable<void> greet(std::shared_ptr<State> state, p2p::PeerId peer, std::shared_ptr<Greetings> greetings) {
  std::string failure;
  try {
    const bool validate = state->options.ensure_bootstrap_success;
    const WallTime sent = state->net.wall_now();
    const Pong pong = co_await State::call_ping(state, peer, validate && !state->options.client_mode);
    if (!pong.node_id) {
      failure = peer.to_string() + " is a client and serves no DHT";
    } else {
      ++greetings->welcomed;
      if (validate) {
        const std::string objection = objection_to(peer, pong, sent, state->net.wall_now(), state->options.client_mode);
        if (!objection.empty() && !state->options.strict) log(LogLevel::warning, "dht", objection);
        if (!objection.empty() && state->options.strict) greetings->objection = objection;
      }
    }
  } catch (const std::exception& error) {
    if (is_cancellation(std::current_exception())) throw;
    failure = error.what();
  }
  if (!failure.empty()) greetings->failures.push_back(std::move(failure));
  --greetings->pending;
  greetings->news.set();
}

/// Pings the initial peers, all at once; waits for the first, and a moment for the others.
template <class State>
awaitable<void> greet_all(std::shared_ptr<State> state, SteadyTime start, SteadyTime deadline) {
  const auto greetings = std::make_shared<Greetings>(state->net.executor());
  greetings->pending = state->options.initial_peers.size();
  for (const auto& peer : state->options.initial_peers) state->children.spawn(greet(state, peer, greetings));
  SteadyTime until = deadline;
  while (greetings->pending > 0 && greetings->objection.empty()) {
    const bool news = co_await wait_until(state->net, greetings->news, until);
    if (!news) break;
    greetings->news.reset();
    if (greetings->welcomed > 0) {
      const SteadyTime now = state->net.steady_now();
      until = std::min(until, now + std::max<Duration>(4 * (now - start), 200ms));
    }
  }
  if (!greetings->objection.empty()) throw Error(errc::refused, greetings->objection);
  if (greetings->welcomed > 0) co_return;
  std::string sentence = "cannot join the DHT: none of the " + std::to_string(state->options.initial_peers.size()) +
                         " initial peers answered a ping";
  if (greetings->pending > 0)
    greetings->failures.push_back(std::to_string(greetings->pending) + " did not answer in time");
  for (std::size_t i = 0; i < std::min<std::size_t>(greetings->failures.size(), 4); ++i) {
    sentence += (i == 0 ? " (" : "; ") + greetings->failures[i];
  }
  sentence += "); check that they run and can be reached, or set ensure_bootstrap_success = false to go on alone";
  if (state->options.ensure_bootstrap_success) throw Error(errc::unreachable, sentence);
  log(LogLevel::warning, "dht", sentence);
}

template <class State>
awaitable<void> introduce(std::shared_ptr<State> state, p2p::PeerId peer, std::shared_ptr<Event> answered) {
  (void)co_await State::call_ping(state, peer, false);
  answered->set();
}

/// Introduces the node again when it has lost everybody it knew, as after an outage of its own network: asks the
/// initial peers, at most every few seconds, and waits for the first of them.
template <class State>
awaitable<void> rejoin_if_alone(std::shared_ptr<State> state) {
  if (state->table.size() > 0 || state->options.initial_peers.empty()) co_return;
  const SteadyTime now = state->net.steady_now();
  if (now < state->next_rejoin) co_return;
  state->next_rejoin = now + state->options.wait_timeout;
  const auto answered = std::make_shared<Event>(state->net.executor());
  for (const auto& peer : state->options.initial_peers) {
    state->children.spawn(introduce(state, peer, answered));
  }
  co_await wait_until(state->net, *answered, now + state->options.wait_timeout);
}

}  // namespace skep::inline v0::dht::detail
