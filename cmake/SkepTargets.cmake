# The public targets. A program links one of them and gets all include folders, definitions and libraries it needs.
#   skep::dht    libp2p, Kademlia, the DHT; no LibTorch
#   skep::moe    skep::dht and the experts, with LibTorch
#   skep::cli    skep::moe and the command lines as templates, with CLI11 and spdlog
#   skep::skep   everything a program may include
include(GNUInstallDirs)
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(SODIUM REQUIRED IMPORTED_TARGET GLOBAL libsodium)
find_package(OpenSSL REQUIRED COMPONENTS Crypto)
find_package(nlohmann_json REQUIRED)
find_path(SKEP_ASIO_INCLUDE_DIR asio.hpp REQUIRED)
find_path(SKEP_PROTOZERO_INCLUDE_DIR protozero/pbf_reader.hpp REQUIRED)

add_library(skep_dht INTERFACE)
add_library(skep::dht ALIAS skep_dht)
target_compile_features(skep_dht INTERFACE cxx_std_20)
target_include_directories(skep_dht INTERFACE
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_compile_definitions(skep_dht INTERFACE $<$<CXX_COMPILER_ID:Clang>:ASIO_HAS_CO_AWAIT=1>)
target_link_libraries(skep_dht INTERFACE Threads::Threads PkgConfig::SODIUM OpenSSL::Crypto nlohmann_json::nlohmann_json)

option(SKEP_WITH_TORCH "Provide skep::moe, skep::cli and skep::skep, which need LibTorch" ON)
if(SKEP_WITH_TORCH)
  find_package(Torch REQUIRED)
  find_package(CLI11 REQUIRED)
  find_package(spdlog REQUIRED)
  add_library(skep_moe INTERFACE)
  add_library(skep::moe ALIAS skep_moe)
  target_include_directories(skep_moe SYSTEM INTERFACE ${TORCH_INCLUDE_DIRS})
  target_link_libraries(skep_moe INTERFACE skep_dht torch torch_cpu c10)
  add_library(skep_cli INTERFACE)
  add_library(skep::cli ALIAS skep_cli)
  target_link_libraries(skep_cli INTERFACE skep_moe CLI11::CLI11 spdlog::spdlog)
  add_library(skep_skep INTERFACE)
  add_library(skep::skep ALIAS skep_skep)
  target_link_libraries(skep_skep INTERFACE skep_cli)
endif()
