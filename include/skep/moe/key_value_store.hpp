// What a beam searcher asks of the store in which it looks prefixes up, and what a store may offer beyond that.
#pragma once

#include <concepts>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "skep/async/awaitable.hpp"
#include "skep/core/time.hpp"
#include "skep/moe/expected_delays.hpp"
#include "skep/moe/uid.hpp"

namespace skep::inline v0::moe {

/// What is found under each of some prefixes, in their order: next coordinate -> (an expert's uid, its peer); nullopt
/// where there is nothing.
using PrefixRecords = std::vector<std::optional<std::map<Coordinate, UidEndpoint>>>;

/// Where a beam searcher looks prefixes up: the DHT, or a table in memory. Entries that contradict themselves are
/// skipped by the searcher.
template <class S>
concept KeyValueStore = requires(S& store, std::vector<std::string> prefixes) {
  { store.get_many(std::move(prefixes)) } -> std::same_as<awaitable<PrefixRecords>>;
};

/// Has a clock, so that a searcher can keep what it found for a while.
template <class S>
concept TimedStore = requires(S& store) {
  { store.steady_now() } -> std::same_as<SteadyTime>;
};

/// Keeps coroutines that go on when nobody awaits them any more, such as a get that outlasts its search.
template <class S>
concept BackgroundStore = requires(S& store, awaitable<void> work) { store.spawn(std::move(work)); };

/// Knows something of prefixes without asking anybody.
template <class S>
concept RememberingStore = requires(S& store, const std::vector<std::string>& prefixes) {
  { store.get_known(prefixes) } -> std::same_as<PrefixRecords>;
};

/// Can leave word for other readers that nothing was found under these prefixes, for so long. What it leaves must not
/// hide experts that are declared later; under a prefix where it stands get_many finds an empty map.
template <class S>
concept MarkingStore = requires(S& store, std::vector<std::string> prefixes, Duration life) {
  store.mark_missing(std::move(prefixes), life);
};

/// Learns how busy servers are.
template <class S>
concept DelayStore = requires(S& store) {
  { store.delays() } -> std::same_as<const std::shared_ptr<ExpectedDelays>&>;
};

}  // namespace skep::inline v0::moe
