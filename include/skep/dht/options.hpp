// What a user of a DHT node can choose, and what it gets back.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <optional>
#include <type_traits>
#include <vector>

#include "skep/codec/msgpack.hpp"
#include "skep/core/time.hpp"
#include "skep/dht/key.hpp"
#include "skep/dht/storage.hpp"
#include "skep/p2p/peer_id.hpp"

namespace skep::inline v0::dht {

class Authorizer;  // dht/authorizer.hpp

/// Options of a node, with Hivemind's names and defaults; where Hivemind's is "unlimited" for what others can make
/// grow, there is a number here.
struct NodeOptions {
  std::vector<p2p::PeerId>
      initial_peers;             ///< nodes of the swarm to join, already reachable for the network; empty: a new swarm
  std::optional<DHTID> node_id;  ///< random when not given
  std::size_t bucket_size = 20;  ///< active nodes a bucket, and neighbours named in an answer
  std::size_t num_replicas = 5;  ///< nodes that are to hold a record
  std::size_t depth_modulo = 5;  ///< how finely far buckets are split
  std::optional<std::size_t> parallel_rpc;  ///< most requests in flight of the whole node; none: as many as there are
  /// Of one request to one node. Searches do not wait so long: by each node's own answer times, others are asked beside
  /// it after mean + 2 deviations, it is done without after mean + 4 (answer_times.hpp).
  Duration wait_timeout = 3s;
  /// So often buckets that were silent for as long are searched, and the node's own neighbourhood, and an initial peer
  /// is greeted: what heals a partition. None: never, as Hivemind.
  std::optional<Duration> refresh_timeout;
  std::optional<Duration> bootstrap_timeout;  ///< of joining, counted from its start; none: `wait_timeout`
  bool cache_locally = true;                  ///< remember what was found
  std::size_t cache_nearest = 1;              ///< give what was found to so many near nodes that did not have it
  std::size_t cache_size = 10'000;            ///< records remembered
  Duration cache_refresh_before_expiry = 5s;  ///< what is read from the cache is found anew so early; 0: never
  bool cache_on_store = true;                 ///< bring the own cache up to date after a store
  bool reuse_get_requests = true;             ///< readers of a key that is being searched share the search
  std::size_t num_workers = 4;                ///< requests in flight for one key
  std::size_t chunk_size = 16;                ///< most keys in one request
  std::size_t search_width = 10;              ///< nearest nodes that must answer before a key counts as not found
  Duration blacklist_time = 5s;               ///< first ban of a node that fails; zero: none
  double backoff_rate = 2;                    ///< of further bans
  bool client_mode = false;                   ///< serve nobody and hold no records of others
  bool ensure_bootstrap_success = true;       ///< fail unless an initial peer answers and can reach us
  /// Fail when an initial peer's clock differs by more than 3 s or it cannot reach us. Otherwise that is a warning, and
  /// the node counts time by the swarm's clock.
  bool strict = true;
  StorageLimits storage = {};                   ///< of the records held for others
  std::shared_ptr<Authorizer> authorizer = {};  ///< of a moderated swarm: signs every call and judges those of others
  /// Searches for a key that share no node (S/Kademlia). With d of them a record is held by d x num_replicas nodes, and
  /// each search costs d times as much; fewer than that many ids chosen to be near a key then cannot hide it.
  std::size_t disjoint_paths = 1;
};

/// Options of reading.
struct GetOptions {
  bool latest = false;     ///< ask all of the nearest nodes and take the freshest, not the first
  Duration timeout = 60s;  ///< a key whose search is not over by then has the value found so far, or none
  /// Requests in flight for one key; 0: as many as are needed if nobody fails (one for a value), with company for those
  /// that are late. More of them trade messages for time.
  std::size_t num_workers = 0;
  /// From how many replicas a dictionary is joined; 0: from a majority of them, which misses nothing that a majority
  /// took. With 1 the first that answers will do, as for Hivemind.
  std::size_t replicas = 0;
  /// A value that lives at least so long ends the search, a shorter one is kept in case nothing better comes; zero: any
  /// that has not expired.
  WallTime sufficient_expiration_time = {};
  bool use_cache = true;  ///< false: what this node remembers of earlier reads does not count
};
static_assert(std::is_aggregate_v<GetOptions> && std::is_trivially_copyable_v<GetOptions>);

/// Options of writing.
struct StoreOptions {
  bool exclude_self = false;       ///< do not count this node among the replicas, even when it is near
  Duration timeout = 60s;          ///< replicas that have not answered by then count as failed
  bool await_all_replicas = true;  ///< false: an item's result is that of its first replica, the others go on
};
static_assert(std::is_aggregate_v<StoreOptions> && std::is_trivially_copyable_v<StoreOptions>);

/// Options of looking for nodes.
struct FindOptions {
  std::size_t k_nearest = 20;
  bool exclude_self = false;
  Duration timeout = 60s;
};
static_assert(std::is_aggregate_v<FindOptions> && std::is_trivially_copyable_v<FindOptions>);

/// One thing to store: a regular value, or with a subkey one item of a dictionary.
struct StoreItem {
  msgpack::Value key;
  msgpack::Value value;
  WallTime expiration;
  std::optional<msgpack::Value> subkey = {};
};

/// What became of a store at the nodes that are to hold the record. A node that does not answer is replaced by the next
/// nearest, so `failed` counts only those for whom nobody stood in.
struct StoreResult {
  std::size_t accepted = 0;
  std::size_t rejected = 0;  ///< they hold something that lives at least as long, or refuse the record
  std::size_t failed = 0;    ///< they did not answer

  /// Whether a majority of them holds the record now.
  explicit operator bool() const noexcept { return 2 * accepted > accepted + rejected + failed; }
  friend bool operator==(const StoreResult&, const StoreResult&) = default;
};

/// One item of a dictionary that was found.
struct FoundItem {
  msgpack::Value subkey;
  msgpack::Value value;
  WallTime expiration;

  friend bool operator==(const FoundItem&, const FoundItem&) = default;
};

/// What was found under a key: a regular value, or the items of a dictionary in the order of their subkeys' bytes.
struct Found {
  msgpack::Value value;  ///< nil for a dictionary
  WallTime expiration;   ///< of a dictionary: when its last item expires
  bool is_dictionary = false;
  std::vector<FoundItem> items = {};

  /// The item under a subkey, or null.
  [[nodiscard]] const FoundItem* find(const msgpack::Value& subkey) const noexcept {
    const auto item = std::find_if(items.begin(), items.end(), [&](const FoundItem& i) { return i.subkey == subkey; });
    return item == items.end() ? nullptr : &*item;
  }
  friend bool operator==(const Found&, const Found&) = default;
};

}  // namespace skep::inline v0::dht
