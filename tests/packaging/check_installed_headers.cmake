# cmake -DSOURCE=<include> -DINSTALLED=<prefix/include> -P check_installed_headers.cmake
# A header that no target lists is neither installed nor checked for standing alone.
cmake_minimum_required(VERSION 3.25)
file(GLOB_RECURSE wanted RELATIVE ${SOURCE} ${SOURCE}/*.hpp)
file(GLOB_RECURSE found RELATIVE ${INSTALLED} ${INSTALLED}/*.hpp)
list(REMOVE_ITEM wanted ${found})
if(wanted OR NOT found)
  message(FATAL_ERROR "in no target's FILE_SET HEADERS: ${wanted}")
endif()
