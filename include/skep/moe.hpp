// Everything a program may include but the command lines: hosting experts, finding them, training through them.
#pragma once

#include "skep/dht.hpp"
#include "skep/moderation.hpp"
#include "skep/moe/beam_search.hpp"
#include "skep/moe/blocking_beam_search.hpp"
#include "skep/moe/client/mixture.hpp"
#include "skep/moe/client/remote_expert.hpp"
#include "skep/moe/client/switch_mixture.hpp"
#include "skep/moe/declare.hpp"
#include "skep/moe/dht_store.hpp"
#include "skep/moe/server/background_server.hpp"
#include "skep/moe/server/layers.hpp"
#include "skep/moe/server/module_backend.hpp"
#include "skep/moe/server/server.hpp"
#include "skep/moe/server_load.hpp"
#include "skep/moe/task_pool.hpp"

namespace skep::inline v0 {

// Hivemind's names at hand, and what their calls are written with.
using moe::Keyword;
using moe::kw;
using moe::RemoteExpert;
using moe::RemoteMixtureOfExperts;
using moe::RemoteSwitchMixtureOfExperts;
using moe::Server;
using moe::TensorTree;

}  // namespace skep::inline v0
