# What including skep needs, found the same way by this build and by an installed package. A part that is not asked for
# is not looked for, so the DHT alone builds on a machine without LibTorch.
#   dht   Asio, libsodium, libcrypto, protozero, nlohmann_json
#   moe   LibTorch
#   cli   CLI11, spdlog
# Targets made here: skep_asio, skep_sodium, skep_protozero (Debian's packages of these three bring no CMake files).

function(_skep_header_library name header library package)
  if(TARGET ${name})
    return()
  endif()
  find_path(${name}_INCLUDE_DIR ${header})
  if(library)
    find_library(${name}_LIBRARY ${library})
  endif()
  if(NOT ${name}_INCLUDE_DIR OR (library AND NOT ${name}_LIBRARY))
    message(FATAL_ERROR "skep needs <${header}>: install ${package} (Debian), or add its prefix to CMAKE_PREFIX_PATH")
  endif()
  mark_as_advanced(${name}_INCLUDE_DIR ${name}_LIBRARY)
  add_library(${name} INTERFACE IMPORTED GLOBAL)
  target_include_directories(${name} SYSTEM INTERFACE ${${name}_INCLUDE_DIR})
  if(library)
    target_link_libraries(${name} INTERFACE ${${name}_LIBRARY})
  endif()
endfunction()

# A macro, so that what find_package sets reaches the caller. ARGN: dht, moe, cli.
macro(skep_find_dependencies)
  set(_skep_targets_global ${CMAKE_FIND_PACKAGE_TARGETS_GLOBAL})
  set(CMAKE_FIND_PACKAGE_TARGETS_GLOBAL TRUE)  # or add_subdirectory would hide LibTorch's targets from its user
  foreach(_skep_part IN ITEMS ${ARGN})
    if(_skep_part STREQUAL "dht")
      find_package(Threads REQUIRED)
      find_package(OpenSSL REQUIRED COMPONENTS Crypto)
      find_package(nlohmann_json REQUIRED)
      _skep_header_library(skep_asio asio.hpp "" libasio-dev)
      _skep_header_library(skep_sodium sodium.h sodium libsodium-dev)
      _skep_header_library(skep_protozero protozero/pbf_reader.hpp "" libprotozero-dev)
    elseif(_skep_part STREQUAL "moe")
      find_package(Torch REQUIRED)
    elseif(_skep_part STREQUAL "cli")
      find_package(CLI11 REQUIRED)
      find_package(spdlog REQUIRED)
    endif()
  endforeach()
  set(CMAKE_FIND_PACKAGE_TARGETS_GLOBAL ${_skep_targets_global})
endmacro()
