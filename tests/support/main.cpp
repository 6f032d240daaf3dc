// The main of every test program; built once, without a precompiled header, or doctest would not see the definition.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>
