# The public targets. A program links one of them and gets all include folders, definitions and libraries it needs.
#   skep::dht    libp2p, Kademlia, the DHT; no LibTorch
#   skep::moe    skep::dht and the experts, with LibTorch
#   skep::cli    skep::moe and the command lines as templates, with CLI11 and spdlog
#   skep::skep   everything a program may include
include(GNUInstallDirs)

option(SKEP_WITH_TORCH "Provide skep::moe and skep::skep, which need LibTorch" ON)
option(SKEP_WITH_CLI "Provide skep::cli, which needs CLI11 and spdlog" ${SKEP_WITH_TORCH})

skep_find_dependencies(dht)
set(skep_parts dht)
if(SKEP_WITH_TORCH)
  skep_find_dependencies(moe)
  list(APPEND skep_parts moe)
  if(SKEP_WITH_CLI)
    skep_find_dependencies(cli)
    list(APPEND skep_parts cli)
  endif()
  list(APPEND skep_parts skep)
endif()

# Every header belongs to the lowest target that can compile it; cmake/checks/layers.py holds the same border.
file(GLOB_RECURSE _headers CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/include/skep/*.hpp)
foreach(_header IN LISTS _headers)
  file(RELATIVE_PATH _name ${PROJECT_SOURCE_DIR}/include/skep ${_header})
  if(_name MATCHES "^cli/")
    list(APPEND skep_headers_cli ${_header})
  elseif(_name MATCHES "^moe/(tensor|server|client)/|^moe\\.hpp$" AND NOT _name MATCHES "^moe/client/(call|dispatch)\\.hpp$")
    list(APPEND skep_headers_moe ${_header})
  else()
    list(APPEND skep_headers_dht ${_header})
  endif()
endforeach()

foreach(_part IN LISTS skep_parts)
  add_library(skep_${_part} INTERFACE)
  add_library(skep::${_part} ALIAS skep_${_part})
  set_target_properties(skep_${_part} PROPERTIES EXPORT_NAME ${_part})
  if(NOT PROJECT_IS_TOP_LEVEL)
    set_target_properties(skep_${_part} PROPERTIES SYSTEM ON)  # a user's warnings are about the user's code
  endif()
  if(skep_headers_${_part})
    target_sources(skep_${_part} INTERFACE FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR}/include
      FILES ${skep_headers_${_part}})
  endif()
endforeach()

target_compile_features(skep_dht INTERFACE cxx_std_20)
target_include_directories(skep_dht INTERFACE
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
# Asio 1.22 asks for this before it believes that Clang has coroutines; newer versions do not mind it.
target_compile_definitions(skep_dht INTERFACE $<$<CXX_COMPILER_ID:Clang>:ASIO_HAS_CO_AWAIT=1>)
target_link_libraries(skep_dht INTERFACE skep_asio skep_protozero skep_sodium OpenSSL::Crypto
  nlohmann_json::nlohmann_json Threads::Threads)
if(SKEP_WITH_TORCH)
  target_include_directories(skep_moe SYSTEM INTERFACE ${TORCH_INCLUDE_DIRS})
  target_link_libraries(skep_moe INTERFACE skep_dht torch torch_cpu c10)
  target_link_libraries(skep_skep INTERFACE skep_moe)
  if(SKEP_WITH_CLI)
    target_link_libraries(skep_cli INTERFACE skep_moe CLI11::CLI11 spdlog::spdlog)
    target_link_libraries(skep_skep INTERFACE skep_cli)
  endif()
endif()
