// The DHT without experts: everything that skep offers below moe/ for finding and keeping small records in a swarm.
#pragma once

#include "skep/dht/access_token.hpp"
#include "skep/dht/call_guard.hpp"
#include "skep/dht/composite_validator.hpp"
#include "skep/dht/dht.hpp"
#include "skep/dht/ed25519_validator.hpp"
#include "skep/dht/endorsement.hpp"
#include "skep/dht/json.hpp"
#include "skep/dht/node.hpp"
#include "skep/dht/options.hpp"
#include "skep/dht/predicate_validator.hpp"
#include "skep/dht/rsa_validator.hpp"
#include "skep/dht/schema_validator.hpp"
#include "skep/dht/token_authorizer.hpp"
#include "skep/dht/validator.hpp"
#include "skep/p2p/host.hpp"

namespace skep::inline v0 {

using dht::DHT;

}  // namespace skep::inline v0
