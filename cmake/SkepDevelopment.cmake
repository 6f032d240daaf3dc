# What our own programs are built with; nothing of it reaches a user's build.
set(SKEP_SANITIZE "" CACHE STRING "Sanitizers for our own programs: address,undefined or thread")

# ccache serves precompiled headers only when their time stamps do not count; the settings stand in the command itself,
# so that ninja, cmake --build and an editor all share one cache.
find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER env CCACHE_NOHASHDIR=1
    CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime ${CCACHE_PROGRAM})
endif()

add_library(skep_development INTERFACE)
target_compile_options(skep_development INTERFACE
  -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror -Wno-missing-field-initializers)
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  target_compile_options(skep_development INTERFACE "SHELL:-Xclang -fno-pch-timestamp")
  target_link_options(skep_development INTERFACE -fuse-ld=lld)
else()
  # GCC takes a reference into a function's static for one into its arguments; ccache wants the other for its headers.
  target_compile_options(skep_development INTERFACE -Wno-dangling-reference -fpch-preprocess)
endif()
if(SKEP_SANITIZE)
  target_compile_options(skep_development INTERFACE
    -fsanitize=${SKEP_SANITIZE} -fno-sanitize-recover=all -g1 -fno-omit-frame-pointer)
  target_link_options(skep_development INTERFACE -fsanitize=${SKEP_SANITIZE})
endif()
target_link_options(skep_development INTERFACE -Wl,--as-needed)

# Two precompiled headers: one with LibTorch first, one without it. Of third-party headers only, or an edit of ours would
# cost all of it again. A build that is made once has our own headers in them, too; with Clang it also has the code of
# their functions in one object, which every program links, in place of each compiling it anew: a third of the time.
set(SKEP_PRECOMPILE ON CACHE BOOL "Use precompiled headers")
set(SKEP_PRECOMPILE_OWN OFF CACHE BOOL "Put skep's headers and their code into them, for builds that are made once")
set(_skep_common_headers <asio.hpp> <asio/async_result.hpp> <asio/experimental/parallel_group.hpp> <algorithm> <array>
  <chrono> <deque> <functional> <map> <memory> <optional> <span> <string> <unordered_map> <variant> <vector>)

# skep_precompile(<target> <headers>...): the target's precompiled header, and its code if there is to be any.
function(skep_precompile target)
  if(NOT SKEP_PRECOMPILE)
    return()
  endif()
  target_precompile_headers(${target} PRIVATE ${ARGN})
  if(NOT SKEP_PRECOMPILE_OWN OR NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    return()
  endif()
  if(SKEP_SANITIZE AND target STREQUAL "skep_torch_pch")
    return()  # sanitizers keep functions that nobody calls, and some of LibTorch's refer to what its libraries hide
  endif()
  target_compile_options(${target} PRIVATE "SHELL:-Xclang -fmodules-codegen")
  set(pch ${PROJECT_BINARY_DIR}/CMakeFiles/${target}.dir/cmake_pch.hxx.pch)
  set(code ${PROJECT_BINARY_DIR}/${target}_code.o)
  string(TOUPPER "${CMAKE_BUILD_TYPE}" config)
  separate_arguments(flags UNIX_COMMAND "${CMAKE_CXX_FLAGS} ${CMAKE_CXX_FLAGS_${config}}")
  if(SKEP_SANITIZE)
    list(APPEND flags -fsanitize=${SKEP_SANITIZE} -fno-sanitize-recover=all -g1 -fno-omit-frame-pointer)
  endif()
  # in sections, since most of LibTorch's are never called and refer to libraries that nobody links
  add_custom_command(OUTPUT ${code} DEPENDS ${pch}
    COMMAND ${CMAKE_CXX_COMPILER} -std=gnu++20 ${flags} -Xclang -fno-pch-timestamp -ffunction-sections -fdata-sections
      -Wno-unused-command-line-argument -c ${pch} -o ${code})
  add_custom_target(${target}_code DEPENDS ${code})
  add_dependencies(${target}_code ${target})
endfunction()

add_library(skep_pch OBJECT ${CMAKE_CURRENT_LIST_DIR}/empty.cpp)
target_link_libraries(skep_pch PRIVATE skep::dht skep_development)
if(SKEP_WITH_TORCH)
  add_library(skep_torch_pch OBJECT ${CMAKE_CURRENT_LIST_DIR}/empty.cpp)
  target_link_libraries(skep_torch_pch PRIVATE skep::skep skep_development)
endif()
if(SKEP_PRECOMPILE_OWN)
  skep_precompile(skep_pch ${_skep_common_headers} <skep/skep.hpp>)
  if(SKEP_WITH_TORCH)
    skep_precompile(skep_torch_pch <ATen/core/ivalue.h> ${_skep_common_headers} <skep/moe.hpp>)
  endif()
else()
  skep_precompile(skep_pch ${_skep_common_headers})
  if(SKEP_WITH_TORCH)
    skep_precompile(skep_torch_pch <ATen/core/ivalue.h> <torch/torch.h> ${_skep_common_headers})
  endif()
endif()

# "Every header alone" takes LibTorch through a precompiled form of the one header that may include it; layers.py sees to
# it that whoever names a tensor includes that header. Build the target skep_torch_door before the headers.
if(SKEP_WITH_TORCH AND CMAKE_VERIFY_INTERFACE_HEADER_SETS AND CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  add_library(skep_torch_door OBJECT ${CMAKE_CURRENT_LIST_DIR}/empty.cpp)
  target_link_libraries(skep_torch_door PRIVATE skep::moe)
  target_precompile_headers(skep_torch_door PRIVATE <skep/moe/tensor/torch.hpp>)
  set(_skep_door_pch ${PROJECT_BINARY_DIR}/CMakeFiles/skep_torch_door.dir/cmake_pch.hxx.pch)
  set(_skep_alone $<STREQUAL:$<TARGET_PROPERTY:NAME>,skep_moe_verify_interface_header_sets>)
  target_compile_options(skep_moe INTERFACE "$<${_skep_alone}:SHELL:-Xclang -include-pch -Xclang \"${_skep_door_pch}\">")
endif()

# skep_program(<target> TORCH <bool> SOURCES <files>): a program of ours, with the precompiled header that fits.
function(skep_program name)
  cmake_parse_arguments(PARSE_ARGV 1 ARG "" "TORCH" "SOURCES")
  add_executable(${name} ${ARG_SOURCES})
  if(ARG_TORCH)
    target_link_libraries(${name} PRIVATE skep::skep skep_development)
    set(pch skep_torch_pch)
  else()
    target_link_libraries(${name} PRIVATE skep::dht skep_development)
    set(pch skep_pch)
  endif()
  if(SKEP_PRECOMPILE)
    target_precompile_headers(${name} REUSE_FROM ${pch})
  endif()
  if(TARGET ${pch}_code)
    set(code ${PROJECT_BINARY_DIR}/${pch}_code.o)
    set_source_files_properties(${code} PROPERTIES EXTERNAL_OBJECT ON GENERATED ON)
    target_sources(${name} PRIVATE ${code})
    target_link_options(${name} PRIVATE -Wl,--gc-sections)
    add_dependencies(${name} ${pch}_code)
  endif()
endfunction()

# skep_mentions(<result> <regex> <files>): whether an include line of the files matches; CMake runs again when they change.
function(skep_mentions result regex)
  set(found FALSE)
  foreach(file IN LISTS ARGN)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
    file(STRINGS ${file} lines REGEX "^#include [<\"](${regex})")
    if(lines)
      set(found TRUE)
    endif()
  endforeach()
  set(${result} ${found} PARENT_SCOPE)
endfunction()
set(skep_torch_includes "torch/|ATen/|skep/moe\\.hpp|skep/moe/(tensor|server)/|skep/moe/client/(remote_expert|mixture|switch_mixture)|skep/cli/server")
