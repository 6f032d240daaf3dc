// bootstrap: how a node joins a swarm.
#pragma once

#include <algorithm>
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
#include "skep/core/new_shared.hpp"
#include "skep/core/time.hpp"
#include "skep/dht/drive.hpp"
#include "skep/dht/protocol.hpp"
#include "skep/p2p/peer_id.hpp"

namespace skep::inline v0::dht::detail {

/// Clocks may differ by this much (Hivemind's MAX_DHT_TIME_DISCREPANCY_SECONDS).
inline constexpr std::chrono::duration<double> max_clock_difference = 3s;

/// What became of greeting the initial peers; shared with the greetings that nobody waits for any more.
struct Greetings {
  Greetings(const Executor& executor, std::size_t peers) : news(executor), answers(peers), pending(peers) {}

  Event news;
  std::vector<std::string> answers;  // by initial peer: what is wrong with it; empty while it has not answered
  std::size_t pending;
  std::size_t welcomed = 0;
  std::string objection;  // what an initial peer found wrong with us, or we with its clock
};

/// By how much the clock of a peer is ahead of ours, as far as the time that its answer took lets us know; 0: it does
/// not tell, or the clocks agree.
inline std::chrono::duration<double> clock_difference(const Pong& pong, WallTime sent, WallTime received) {
  if (pong.time == WallTime{}) return {};
  if (pong.time < sent) return pong.time - sent;
  return std::max(pong.time - received, std::chrono::duration<double>{});
}

/// Says why an initial peer's answer is not good enough, or nothing.
inline std::string objection_to(const p2p::PeerId& peer, const Pong& pong, std::chrono::duration<double> difference,
                                bool client_mode) {
  if (!pong.available && !client_mode) {
    return "initial peer " + peer.to_string() +
           " cannot call this node back, so others could not reach it either; open its port, or join with client_mode";
  }
  const double seconds = std::abs(difference.count());
  if (seconds <= max_clock_difference.count()) return {};
  return "the clock of initial peer " + peer.to_string() + " and ours differ by " +
         std::to_string(std::lround(seconds)) + " s, more than " +
         std::to_string(std::lround(max_clock_difference.count())) +
         " s; set both by a time server, or join with strict = false and go by the swarm's clock";
}

/// Judges an initial peer's answer; a wrong clock is put right when the node is not strict.
template <class State>
void judge(State& self, const p2p::PeerId& peer, const Pong& pong, WallTime sent, Greetings& greetings) {
  const auto difference = clock_difference(pong, sent, self.net.wall_now());
  const std::string objection = objection_to(peer, pong, difference, self.options.client_mode);
  if (objection.empty()) return;
  if (self.options.strict) {
    greetings.objection = objection;
    return;
  }
  log(LogLevel::warning, "dht", objection);
  if (std::abs(difference.count()) > max_clock_difference.count()) self.clock_correction = difference;
}

template <class State>
awaitable<void> greet(std::shared_ptr<State> state, std::size_t number, std::shared_ptr<Greetings> greetings) {
  const p2p::PeerId peer = state->options.initial_peers[number];
  std::string& answer = greetings->answers[number];
  try {
    const bool validate = state->options.ensure_bootstrap_success;
    const WallTime sent = state->net.wall_now();
    const Pong pong = co_await State::call_ping(state, peer, validate && !state->options.client_mode);
    if (!pong.node_id) {
      answer = peer.to_string() + " is a client and serves no DHT";
    } else {
      ++greetings->welcomed;
      if (validate) judge(*state, peer, pong, sent, *greetings);
    }
  } catch (const std::exception& error) {
    if (is_cancellation(std::current_exception())) throw;
    answer = without_prefix(error.what());
    if (answer.find(peer.to_string()) == std::string::npos) answer = peer.to_string() + ": " + answer;
  }
  --greetings->pending;
  greetings->news.set();
}

/// That no initial peer will do: who was tried and what each answered.
inline std::string nobody_answered(const std::vector<p2p::PeerId>& peers, const Greetings& greetings) {
  constexpr std::size_t most = 16;
  std::string sentence =
      "cannot join the DHT: none of the " + std::to_string(peers.size()) + " initial peers answered a ping (";
  for (std::size_t i = 0; i < std::min(peers.size(), most); ++i) {
    if (i > 0) sentence += "; ";
    sentence += greetings.answers[i].empty() ? peers[i].to_string() + " did not answer in time" : greetings.answers[i];
  }
  if (peers.size() > most) sentence += "; and " + std::to_string(peers.size() - most) + " more";
  return sentence + "); check that they run and can be reached, or set ensure_bootstrap_success = false to go on alone";
}

/// Pings the initial peers, all at once; waits for the first, and a moment for the others.
template <class State>
awaitable<void> greet_all(std::shared_ptr<State> state, SteadyTime start, SteadyTime deadline) {
  const auto& peers = state->options.initial_peers;
  const auto greetings = new_shared<Greetings>(state->net.executor(), peers.size());
  for (std::size_t i = 0; i < peers.size(); ++i) state->children.spawn(greet(state, i, greetings));
  SteadyTime until = deadline;
  while (greetings->pending > 0 && greetings->objection.empty()) {
    const bool news = co_await wait_until(state->net, greetings->news, until);
    if (!news) break;
    greetings->news.reset();
    if (greetings->welcomed > 0) {
      const SteadyTime now = state->net.steady_now();
      until = std::min(until, deadline_after(now, std::max<Duration>(4 * (now - start), 200ms)));
    }
  }
  if (!greetings->objection.empty()) throw Error(errc::refused, greetings->objection);
  if (greetings->welcomed > 0) co_return;
  const std::string sentence = nobody_answered(peers, *greetings);
  if (state->options.ensure_bootstrap_success) throw Error(errc::unreachable, sentence);
  log(LogLevel::warning, "dht", sentence);
}

template <class State>
awaitable<void> introduce(std::shared_ptr<State> state, p2p::PeerId peer, std::shared_ptr<Event> answered) {
  (void)co_await State::call_ping(state, peer, false);
  answered->set();
}

/// Introduces the node again when it has lost everybody it knew, as after an outage of its own network: asks the
/// initial peers, at most every few seconds, and waits for the first of them, at most until `deadline`.
template <class State>
awaitable<void> rejoin_if_alone(std::shared_ptr<State> state, SteadyTime deadline = SteadyTime::max()) {
  if (state->table.size() > 0 || state->options.initial_peers.empty()) co_return;
  const SteadyTime now = state->net.steady_now();
  if (now < state->next_rejoin) co_return;
  state->next_rejoin = now + std::min<Duration>(state->options.wait_timeout, 5s);
  const auto answered = std::make_shared<Event>(state->net.executor());
  for (const auto& peer : state->options.initial_peers) {
    state->children.spawn(introduce(state, peer, answered));
  }
  co_await wait_until(state->net, *answered, std::min(deadline, state->next_rejoin));
}

}  // namespace skep::inline v0::dht::detail
