# cmake -DPROGRAM=<test program> -DFILTER=<of its tests> [-DMUTANT=<protocol.mistake> -DROUNDS=<n>] -P run_mutant.cmake
# Succeeds if the tests of the filter, or one of them, fail with the mistake put in: by an assertion, in one of so many rounds.
# A crash of the test program, a hang, or a filter without tests is no success. Without a mutant: if they all pass.
cmake_minimum_required(VERSION 3.25)
set(environment HOLDFAST_TEST_PATIENCE=5)  # what does not come now will not come
set(rounds 1)
if(MUTANT)
  list(APPEND environment HOLDFAST_MUTANT=${MUTANT})
  set(rounds ${ROUNDS})
else()
  set(environment --unset=HOLDFAST_MUTANT)
endif()
foreach(round RANGE 1 ${rounds})
  execute_process(
    COMMAND ${CMAKE_COMMAND} -E env ${environment} ${PROGRAM} --gtest_filter=${FILTER} --gtest_color=no
    TIMEOUT 300
    RESULT_VARIABLE result
    OUTPUT_VARIABLE output
    ERROR_VARIABLE output)
  if(NOT output MATCHES "\\[=+\\] Running [1-9][0-9]* tests? from")
    message(FATAL_ERROR "no test was run by '${FILTER}' (${result}):\n${output}")
  endif()
  string(REGEX MATCHALL "\n\\[  FAILED  \\] [^ ,\n]*\\.[^ ,\n]*" failed "${output}")
  list(REMOVE_DUPLICATES failed)
  string(REPLACE "\n[  FAILED  ] " "" failed "${failed}")
  if(NOT MUTANT)
    if(NOT result EQUAL 0)
      message(FATAL_ERROR "it fails without a mistake (${result}): ${failed}\n${output}")
    endif()
    string(REGEX MATCH "\\[  SKIPPED \\] [1-9][0-9]* test" skipped "${output}")
    message(STATUS "all pass; ${skipped}")
    return()
  endif()
  if(result EQUAL 1 AND failed)
    message(STATUS "${MUTANT} was killed in round ${round} by ${failed}")
    return()
  elseif(NOT result EQUAL 0)
    message(FATAL_ERROR "${MUTANT}: the test program did not end as it should: ${result}\n${output}")
  elseif(output MATCHES "\\[  PASSED  \\] 0 tests")
    message(FATAL_ERROR "${MUTANT}: NOT TESTED: all were skipped\n${output}")
  endif()
endforeach()
message(FATAL_ERROR "${MUTANT} has survived ${rounds} rounds of ${FILTER}\n${output}")
