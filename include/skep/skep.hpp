// Everything below the experts: libp2p, the DHT and the simulated swarm; no LibTorch.
#pragma once

#include "skep/dht.hpp"
#include "skep/moderation.hpp"
#include "skep/sim/network.hpp"
#include "skep/sim/swarm.hpp"
