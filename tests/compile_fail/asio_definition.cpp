// A unit that is compiled with Clang and without the definition that the CMake targets bring is told so.
// flags: -UASIO_HAS_CO_AWAIT
// expect: skep: with Clang, compile with -DASIO_HAS_CO_AWAIT=1 (the CMake target skep::dht does)
#include "skep/async/awaitable.hpp"
