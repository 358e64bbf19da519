# Language, warnings and sanitizers for every target, carried by the interface library
# shoal_options. Presets choose SHOAL_SANITIZE and SHOAL_WERROR; CI sets the latter.
set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON) # POSIX and GNU declarations; the language itself stays C17
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
if(NOT CMAKE_BUILD_TYPE)
    set(CMAKE_BUILD_TYPE Release)
endif()
# Release keeps assertions: cheap ones guard invariants in production too.
string(REPLACE "-DNDEBUG" "" CMAKE_C_FLAGS_RELEASE "${CMAKE_C_FLAGS_RELEASE}")
string(REPLACE "-O3" "-O2 -g1" CMAKE_C_FLAGS_RELEASE "${CMAKE_C_FLAGS_RELEASE}")

option(SHOAL_WERROR "Treat warnings as errors" OFF)
option(SHOAL_FUZZ "Build the libFuzzer targets (needs clang)" OFF)
set(SHOAL_SANITIZE "" CACHE STRING "Sanitizers, for example address,undefined")

add_library(shoal_options INTERFACE)
target_include_directories(shoal_options INTERFACE "${CMAKE_SOURCE_DIR}")
target_compile_definitions(shoal_options INTERFACE _GNU_SOURCE)
target_compile_options(shoal_options INTERFACE
    -Wall -Wextra -Wshadow -Wundef -Wvla -Wformat=2 -Wpointer-arith -Wwrite-strings
    -Wstrict-prototypes -Wmissing-prototypes
    # Every sum is written in the order we mean: the compiler may fuse nothing on its own.
    -ffp-contract=off -fno-strict-aliasing)
if(SHOAL_WERROR)
    target_compile_options(shoal_options INTERFACE -Werror)
endif()
if(SHOAL_SANITIZE)
    target_compile_options(shoal_options INTERFACE
        -fsanitize=${SHOAL_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
    target_link_options(shoal_options INTERFACE -fsanitize=${SHOAL_SANITIZE})
endif()
if(SHOAL_FUZZ)
    target_compile_options(shoal_options INTERFACE -fsanitize=fuzzer-no-link)
endif()
