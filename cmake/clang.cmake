# The newest Clang of the machine, whatever it is called there; used by the preset clang.
find_program(HOLDFAST_CLANG NAMES clang++-19 clang++-18 clang++-17 clang++-16 clang++-15 clang++ clang++-14 REQUIRED)
set(CMAKE_CXX_COMPILER ${HOLDFAST_CLANG})
