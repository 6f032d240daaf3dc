// Everything but the command lines: the DHT, libp2p, experts and mixtures, under their short names.
#pragma once

#include "skep/dht.hpp"
#include "skep/moe/moe.hpp"
