# Foreign libraries, all from Debian; deploy/packages.txt lists the packages.
find_package(PkgConfig REQUIRED)
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
pkg_check_modules(JSON_C REQUIRED IMPORTED_TARGET json-c)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)
pkg_check_modules(LIBEDIT REQUIRED IMPORTED_TARGET libedit)
pkg_check_modules(PCRE2 IMPORTED_TARGET libpcre2-8) # the tests' oracle for the split patterns
pkg_check_modules(CMOCKA IMPORTED_TARGET cmocka)
