# Coroutines are miscompiled by GCC before 13 (temporaries destroyed twice) and by Clang before 18 (writes to a frame
# after it was suspended), so skep does not build with them.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  message(FATAL_ERROR "skep: GCC ${CMAKE_CXX_COMPILER_VERSION} destroys temporaries twice in ordinary coroutine code; use GCC 13 or newer, or Clang 18 or newer (on Debian 12: apt-get install clang-19, then -DCMAKE_CXX_COMPILER=clang++-19)")
elseif(CMAKE_CXX_COMPILER_ID STREQUAL "Clang" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 18)
  message(FATAL_ERROR "skep: Clang ${CMAKE_CXX_COMPILER_VERSION} may write to a coroutine's frame after it was suspended; use Clang 18 or newer, or GCC 13 or newer (on Debian 12: apt-get install clang-19, then -DCMAKE_CXX_COMPILER=clang++-19)")
endif()
