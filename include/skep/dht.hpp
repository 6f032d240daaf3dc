// The DHT without experts: finding and keeping small records in a swarm. Who may write them: skep/moderation.hpp.
#pragma once

#include "skep/dht/dht.hpp"
#include "skep/dht/json.hpp"
#include "skep/dht/node.hpp"
#include "skep/dht/options.hpp"
#include "skep/dht/validator.hpp"
#include "skep/p2p/host.hpp"

namespace skep::inline v0 {

using dht::DHT;

}  // namespace skep::inline v0
