// The DHT without experts: everything that skep offers below moe/ for finding and keeping small records in a swarm.
#pragma once

#include "skep/dht/dht.hpp"
#include "skep/dht/json.hpp"
#include "skep/dht/node.hpp"
#include "skep/dht/options.hpp"
#include "skep/dht/validator.hpp"
#include "skep/p2p/host.hpp"
