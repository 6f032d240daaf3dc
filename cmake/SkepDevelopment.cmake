# What our own programs are built with; nothing of it reaches a user's build.
set(SKEP_SANITIZE "" CACHE STRING "Sanitizers for our own programs: address,undefined or thread")

add_library(skep_development INTERFACE)
target_compile_options(skep_development INTERFACE
  -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror -Wno-missing-field-initializers)
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  target_compile_options(skep_development INTERFACE "SHELL:-Xclang -fno-pch-timestamp")
  target_link_options(skep_development INTERFACE -fuse-ld=lld)
endif()
if(SKEP_SANITIZE)
  target_compile_options(skep_development INTERFACE -fsanitize=${SKEP_SANITIZE} -fno-sanitize-recover=all -g1 -fno-omit-frame-pointer)
  target_link_options(skep_development INTERFACE -fsanitize=${SKEP_SANITIZE})
endif()
