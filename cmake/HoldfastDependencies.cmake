# What holdfast needs: a target the parent project has already, else the system's package, else the pinned version.
include_guard(GLOBAL)
include(FetchContent)
find_package(Threads REQUIRED)

# holdfast_dependency(<package> TARGET <target> VERSION <at least> URL <url> SHA256 <hash> [OPTIONS <NAME=value>...])
# Afterwards <target> exists. What is fetched is built without our warnings as errors, and is not installed. Nothing is
# written to the cache, so that a parent project's own use of the same package is left as it is.
function(holdfast_dependency package)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "TARGET;VERSION;URL;SHA256" "OPTIONS")
  if(NOT TARGET ${arg_TARGET})
    find_package(${package} ${arg_VERSION} QUIET)
  endif()
  if(NOT TARGET ${arg_TARGET})
    message(STATUS "holdfast: no package ${package} ${arg_VERSION} here, using ${arg_URL}")
    set(CMAKE_POLICY_DEFAULT_CMP0077 NEW)  # its option() calls take what is set here
    set(CMAKE_COMPILE_WARNING_AS_ERROR OFF)
    foreach(option IN LISTS arg_OPTIONS)
      string(REGEX MATCH "^(.*)=(.*)$" option ${option})
      set(${CMAKE_MATCH_1} ${CMAKE_MATCH_2})
    endforeach()
    FetchContent_Declare(${package} URL ${arg_URL} URL_HASH SHA256=${arg_SHA256} DOWNLOAD_EXTRACT_TIMESTAMP ON SYSTEM)
    FetchContent_MakeAvailable(${package})
  endif()
endfunction()

holdfast_dependency(fmt TARGET fmt::fmt-header-only VERSION 9
  URL https://github.com/fmtlib/fmt/archive/refs/tags/9.1.0.tar.gz
  SHA256 5dea48d1fcddc3ec571ce2058e13910a0d4a6bab4cc09a809d8b1dd1c88ae6f2
  OPTIONS FMT_INSTALL=OFF)
if(HOLDFAST_BUILD_TESTS OR HOLDFAST_BUILD_EXAMPLES)
  holdfast_dependency(GTest TARGET GTest::gtest VERSION 1.12
    URL https://github.com/google/googletest/archive/refs/tags/release-1.12.1.tar.gz
    SHA256 81964fe578e9bd7c94dfdb09c8e4d6e6759e19967e397dbea48d1c10e45d0df2
    OPTIONS INSTALL_GTEST=OFF)
endif()
if(HOLDFAST_BUILD_BENCHMARKS)
  holdfast_dependency(benchmark TARGET benchmark::benchmark VERSION 1.7
    URL https://github.com/google/benchmark/archive/refs/tags/v1.7.1.tar.gz
    SHA256 6430e4092653380d9dc4ccb45a1e2dc9259d581f4866dc0759713126056bc1d7
    OPTIONS BENCHMARK_ENABLE_TESTING=OFF BENCHMARK_ENABLE_INSTALL=OFF BENCHMARK_ENABLE_WERROR=OFF)
endif()
if(HOLDFAST_BUILD_TOOL OR HOLDFAST_BUILD_BENCHMARKS)
  holdfast_dependency(CLI11 TARGET CLI11::CLI11 VERSION 2.1
    URL https://github.com/CLIUtils/CLI11/archive/refs/tags/v2.1.2.tar.gz
    SHA256 26291377e892ba0e5b4972cdfd4a2ab3bf53af8dac1f4ea8fe0d1376b625c8cb
    OPTIONS CLI11_BUILD_TESTS=OFF CLI11_BUILD_EXAMPLES=OFF CLI11_BUILD_DOCS=OFF CLI11_INSTALL=OFF)
  holdfast_dependency(nlohmann_json TARGET nlohmann_json::nlohmann_json VERSION 3.11
    URL https://github.com/nlohmann/json/archive/refs/tags/v3.11.2.tar.gz
    SHA256 d69f9deb6a75e2580465c6c4c5111b89c4dc2fa94e3a85fcd2ffcd9a143d9273
    OPTIONS JSON_BuildTests=OFF JSON_Install=OFF)
endif()

# fmt is used in sources only, and compiled into them: who links holdfast needs none, and a process starts 0.2 ms sooner without
# its shared library.
set(holdfast_fmt $<BUILD_INTERFACE:fmt::fmt-header-only>)

# xxHash is one header, compiled into one source: who links holdfast does not see it. holdfast_xxhash_dir: where it is.
find_path(holdfast_xxhash_dir xxhash.h NO_CACHE)
if(NOT holdfast_xxhash_dir)
  set(url https://github.com/Cyan4973/xxHash/archive/refs/tags/v0.8.1.tar.gz)
  message(STATUS "holdfast: no xxhash.h here, using ${url}")
  FetchContent_Declare(holdfast_xxhash URL ${url} DOWNLOAD_EXTRACT_TIMESTAMP ON
    URL_HASH SHA256=3bb6b7d6f30c591dd65aaaff1c8b7a5b94d81687998ca9400082c739a690436c)
  FetchContent_Populate(holdfast_xxhash)
  set(holdfast_xxhash_dir ${holdfast_xxhash_SOURCE_DIR})
endif()
