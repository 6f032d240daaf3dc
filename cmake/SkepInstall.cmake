# Installs the headers and the package: find_package(skep 0.1 COMPONENTS dht moe cli). A component that is not asked for
# costs nothing and needs nothing.
include(CMakePackageConfigHelpers)
set(_skep_package_dir ${CMAKE_INSTALL_DATADIR}/cmake/skep)

foreach(_part IN LISTS skep_parts)
  install(TARGETS skep_${_part} EXPORT skep-${_part} FILE_SET HEADERS DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
  install(EXPORT skep-${_part} NAMESPACE skep:: DESTINATION ${_skep_package_dir} FILE skep-${_part}-targets.cmake)
endforeach()

configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/skepConfig.cmake.in ${PROJECT_BINARY_DIR}/skepConfig.cmake
  INSTALL_DESTINATION ${_skep_package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/skepConfigVersion.cmake COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
install(FILES ${PROJECT_BINARY_DIR}/skepConfig.cmake ${PROJECT_BINARY_DIR}/skepConfigVersion.cmake
  ${CMAKE_CURRENT_LIST_DIR}/SkepCompiler.cmake ${CMAKE_CURRENT_LIST_DIR}/SkepDependencies.cmake
  DESTINATION ${_skep_package_dir})
