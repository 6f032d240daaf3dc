// Who may write records and who may call: validators, membership tokens and guards, for swarms that are not open to
// all.
#pragma once

#include "skep/dht/access_token.hpp"
#include "skep/dht/call_guard.hpp"
#include "skep/dht/composite_validator.hpp"
#include "skep/dht/ed25519_validator.hpp"
#include "skep/dht/endorsement.hpp"
#include "skep/dht/predicate_validator.hpp"
#include "skep/dht/rsa_validator.hpp"
#include "skep/dht/schema_validator.hpp"
#include "skep/dht/token_authorizer.hpp"
#include "skep/dht/validator.hpp"
