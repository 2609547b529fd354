# With HOLDFAST_BUILD_FUZZERS everything is built for libFuzzer: the targets of tests/fuzz search then, instead of only running
# their corpus. Not vptr, which needs a free descriptor to look at an object.
option(HOLDFAST_BUILD_FUZZERS "Build tests/fuzz with libFuzzer, AddressSanitizer and UndefinedBehaviorSanitizer; needs Clang" OFF)
if(HOLDFAST_BUILD_FUZZERS)
  if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    message(FATAL_ERROR "HOLDFAST_BUILD_FUZZERS needs Clang, which has libFuzzer; this is ${CMAKE_CXX_COMPILER_ID}. "
      "Give -DCMAKE_CXX_COMPILER=clang++, or --toolchain cmake/clang.cmake, to a new build directory.")
  endif()
  if(NOT HOLDFAST_BUILD_TESTS)
    message(FATAL_ERROR "HOLDFAST_BUILD_FUZZERS needs HOLDFAST_BUILD_TESTS: the fuzz targets are in tests/fuzz.")
  endif()
  set(fuzz_sanitizers -fsanitize=address,undefined -fno-sanitize=vptr -fno-sanitize-recover=all)
  add_compile_options(-g -fno-omit-frame-pointer -fsanitize=fuzzer-no-link ${fuzz_sanitizers})
  add_link_options(${fuzz_sanitizers})
endif()
