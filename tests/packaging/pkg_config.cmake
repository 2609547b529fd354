# cmake -DPREFIX= -DLIBDIR= -DCXX= -DFLAGS= -DSOURCE= -DWORK= -P pkg_config.cmake
# What a makefile would do: compile and link one file with what pkg-config says, and run it.
cmake_minimum_required(VERSION 3.25)
find_program(PKG_CONFIG NAMES pkg-config pkgconf REQUIRED)
set(ENV{PKG_CONFIG_PATH} ${PREFIX}/${LIBDIR}/pkgconfig)
separate_arguments(compile UNIX_COMMAND "${FLAGS} -std=c++20")
foreach(what IN ITEMS cflags libs)
  execute_process(COMMAND ${PKG_CONFIG} --${what} holdfast OUTPUT_VARIABLE ${what} COMMAND_ERROR_IS_FATAL ANY)
  string(STRIP "${${what}}" ${what})
  separate_arguments(${what} UNIX_COMMAND "${${what}}")
endforeach()
file(MAKE_DIRECTORY ${WORK})
execute_process(COMMAND ${CXX} ${compile} ${cflags} ${SOURCE} -o ${WORK}/counter ${libs} COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${WORK}/counter ${WORK} COMMAND_ERROR_IS_FATAL ANY)
