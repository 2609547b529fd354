# What is installed, and how find_package and pkg-config find it.
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)
set(holdfast_cmake_dir ${CMAKE_INSTALL_LIBDIR}/cmake/holdfast)

set_target_properties(holdfast_testing PROPERTIES EXPORT_NAME testing)
install(TARGETS holdfast holdfast_testing EXPORT holdfastTargets FILE_SET HEADERS)
install(EXPORT holdfastTargets NAMESPACE holdfast:: DESTINATION ${holdfast_cmake_dir})
install(FILES ${CMAKE_CURRENT_LIST_DIR}/HoldfastTesting.cmake DESTINATION ${holdfast_cmake_dir})
if(TARGET holdfast_tool)
  install(TARGETS holdfast_tool)
endif()
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})

configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/holdfastConfig.cmake.in
  ${PROJECT_BINARY_DIR}/package/holdfastConfig.cmake INSTALL_DESTINATION ${holdfast_cmake_dir})
if(PROJECT_VERSION_MAJOR EQUAL 0)
  set(holdfast_compatibility SameMinorVersion)
else()
  set(holdfast_compatibility SameMajorVersion)
endif()
write_basic_package_version_file(${PROJECT_BINARY_DIR}/package/holdfastConfigVersion.cmake
  COMPATIBILITY ${holdfast_compatibility})
install(FILES ${PROJECT_BINARY_DIR}/package/holdfastConfig.cmake ${PROJECT_BINARY_DIR}/package/holdfastConfigVersion.cmake
  DESTINATION ${holdfast_cmake_dir})

# ${pcfiledir} keeps the paths right after the tree was moved.
cmake_path(RELATIVE_PATH CMAKE_INSTALL_FULL_INCLUDEDIR BASE_DIRECTORY ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig
  OUTPUT_VARIABLE holdfast_pc_includedir)
configure_file(${CMAKE_CURRENT_LIST_DIR}/holdfast.pc.in ${PROJECT_BINARY_DIR}/package/holdfast.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/package/holdfast.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
