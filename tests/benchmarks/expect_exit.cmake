# cmake -D COMMAND=<program;argument;...> -D CODE=<exit code> -D OUTPUT=<regular expression> -P expect_exit.cmake
execute_process(COMMAND ${COMMAND} RESULT_VARIABLE code OUTPUT_VARIABLE output ERROR_VARIABLE errors)
message("${output}\n${errors}")
if(NOT code STREQUAL CODE OR NOT output MATCHES "${OUTPUT}")
  message(FATAL_ERROR "exit code ${code} instead of ${CODE}, or no '${OUTPUT}' in its output")
endif()
