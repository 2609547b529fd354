# cmake -DROOT=<source tree> [-DEXPECTED_PROBLEMS=<n>] -P check_layers.cmake
# The order in which the code may be read, kept by force:
#   a header includes headers of its own layer or lower ones;
#   headers include the standard library only: no fmt, no system header (the harness for GoogleTest may include that);
#   a platform's sources know the vocabulary and the duties, nothing above;
#   the library knows nothing of the harness, and nobody asks for the operating system outside a platform's folder.
cmake_minimum_required(VERSION 3.25)
set(layers
  "error deadline steps"
  "platform/[a-z_]+"
  "process_identity ownership"
  "file_lock shared_memory"
  "data_block_mutex"
  "slot_protocol"
  "data_block_layout data_block"
  "holdfast"
  "testing/[a-z_]+")
set(problems "")

function(layer_of header result)
  set(number 0)
  foreach(layer IN LISTS layers)
    string(REPLACE " " "|" pattern ${layer})
    if(header MATCHES "^(${pattern})\\.hpp$")
      set(${result} ${number} PARENT_SCOPE)
      return()
    endif()
    math(EXPR number "${number} + 1")
  endforeach()
  set(${result} -1 PARENT_SCOPE)
endfunction()

function(problem text)
  list(APPEND problems "${text}")
  set(problems "${problems}" PARENT_SCOPE)
endfunction()

file(GLOB_RECURSE headers RELATIVE ${ROOT}/include/holdfast ${ROOT}/include/holdfast/*.hpp)
if(NOT headers)
  message(FATAL_ERROR "no headers in ${ROOT}/include/holdfast")
endif()
foreach(header IN LISTS headers)
  layer_of(${header} layer)
  if(layer EQUAL -1)
    problem("include/holdfast/${header} has no layer: give it one in check_layers.cmake")
  endif()
  file(STRINGS ${ROOT}/include/holdfast/${header} includes REGEX "^ *# *include")
  foreach(include IN LISTS includes)
    string(REGEX REPLACE "^ *# *include *([<\"][^>\"]*[>\"]).*" "\\1" include "${include}")
    if(include MATCHES "^<holdfast/(.*)>$")
      layer_of(${CMAKE_MATCH_1} below)
      if(below GREATER layer OR below EQUAL -1)
        problem("include/holdfast/${header} (layer ${layer}) includes ${CMAKE_MATCH_1} (layer ${below})")
      endif()
    elseif(header STREQUAL "testing/gtest.hpp" AND include MATCHES "^<gtest/")
    elseif(NOT include MATCHES "^<[a-z_]+>$")
      problem("include/holdfast/${header} includes ${include}: headers take the standard library only")
    endif()
  endforeach()
endforeach()

file(GLOB_RECURSE sources RELATIVE ${ROOT} ${ROOT}/src/*.cpp ${ROOT}/src/*.hpp ${ROOT}/include/*.hpp)
foreach(source IN LISTS sources)
  file(STRINGS ${ROOT}/${source} includes REGEX "^ *# *include *<holdfast/")
  foreach(include IN LISTS includes)
    string(REGEX REPLACE "^.*<holdfast/([^>]*)>.*" "\\1" include "${include}")
    layer_of(${include} layer)
    if(source MATCHES "^src/platform/" AND layer GREATER 1)
      problem("${source} includes ${include} (layer ${layer}): a platform knows layers 0 and 1")
    elseif(include MATCHES "^testing/" AND source MATCHES "^src/" AND NOT source MATCHES "^src/(testing|tool)/")
      problem("${source} includes ${include}: the library knows nothing of the harness")
    endif()
  endforeach()
  if(NOT source MATCHES "/(posix|linux|windows)/")
    file(STRINGS ${ROOT}/${source} conditions
      REGEX "^ *# *(if|ifdef|ifndef|elif).*(__linux|__unix|__APPLE__|__FreeBSD__|_WIN32|_WIN64|_POSIX_|_GNU_SOURCE)")
    foreach(condition IN LISTS conditions)
      problem("${source}: ${condition}: only a platform's folder asks for the operating system")
    endforeach()
  endif()
endforeach()

list(LENGTH problems count)
if(DEFINED EXPECTED_PROBLEMS)
  if(NOT count EQUAL EXPECTED_PROBLEMS)
    list(JOIN problems "\n  " text)
    message(FATAL_ERROR "the check should find ${EXPECTED_PROBLEMS} problems and finds ${count}:\n  ${text}")
  endif()
elseif(problems)
  list(JOIN problems "\n  " text)
  message(FATAL_ERROR "${count} problems:\n  ${text}")
endif()
