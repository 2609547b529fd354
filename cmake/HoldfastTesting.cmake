# Tests with real processes, for holdfast's own tests and for those of its users: comes with find_package(holdfast).
include_guard(GLOBAL)
include(GoogleTest)

# holdfast_add_process_test(<name> SOURCES <file>... [WORKERS <file>...] [LIBRARIES <target>...]
#                           [LABEL <label>] [TIMEOUT <seconds>] [RUN_SERIAL])
#
# SOURCES    the GoogleTest program <name>; main() comes with it. GoogleTest is the project's own, else find_package's.
# WORKERS    one executable per file, named like the file. Each is known to <name> by a macro that is its path as a
#            string literal: file_lock_worker.cpp is FILE_LOCK_WORKER. Several tests may name the same worker.
# LIBRARIES  linked to <name> and to its workers, after holdfast::testing
# LABEL      for ctest -L
# TIMEOUT    for each test case, in seconds; default 120. A hang is a failure, never a hang of the whole run. Longer than
#            the harness's own deadlines of at most 60 s, which end a hanging worker with a report.
# RUN_SERIAL no other test runs meanwhile: for tests that measure time or need every core
function(holdfast_add_process_test name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "RUN_SERIAL" "LABEL;TIMEOUT" "SOURCES;WORKERS;LIBRARIES")
  if(arg_UNPARSED_ARGUMENTS OR NOT arg_SOURCES)
    message(FATAL_ERROR "holdfast_add_process_test(${name}): SOURCES missing, or not understood: ${arg_UNPARSED_ARGUMENTS}")
  endif()
  if(NOT TARGET GTest::gtest_main)
    find_package(GTest 1.12 REQUIRED)
  endif()
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 120)
  endif()

  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE holdfast::testing ${arg_LIBRARIES} GTest::gtest_main)

  foreach(source IN LISTS arg_WORKERS)
    cmake_path(ABSOLUTE_PATH source NORMALIZE)
    cmake_path(GET source STEM worker)
    if(NOT TARGET ${worker})
      add_executable(${worker} ${source})
      set_target_properties(${worker} PROPERTIES HOLDFAST_WORKER_SOURCE ${source})
      # So that a tracer of instructions steps through the worker's work, and not through the loader's.
      target_link_options(${worker} PRIVATE LINKER:-z,now)
    endif()
    get_target_property(known ${worker} HOLDFAST_WORKER_SOURCE)
    if(NOT known STREQUAL source)
      message(FATAL_ERROR "holdfast_add_process_test(${name}): there is a target ${worker} already, and it is not ${source}")
    endif()
    target_link_libraries(${worker} PRIVATE holdfast::testing ${arg_LIBRARIES})
    string(MAKE_C_IDENTIFIER ${worker} macro)
    string(TOUPPER ${macro} macro)
    target_compile_definitions(${name} PRIVATE ${macro}="$<TARGET_FILE:${worker}>")
    add_dependencies(${name} ${worker})
  endforeach()

  set(properties TIMEOUT ${arg_TIMEOUT})
  if(arg_LABEL)
    list(APPEND properties LABELS ${arg_LABEL})
  endif()
  if(arg_RUN_SERIAL)
    list(APPEND properties RUN_SERIAL TRUE)
  endif()
  gtest_discover_tests(${name} DISCOVERY_TIMEOUT 60 PROPERTIES ${properties})
endfunction()
