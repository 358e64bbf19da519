# Foreign libraries, all from Debian; deploy/packages.txt lists the packages.
find_package(PkgConfig REQUIRED)
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
pkg_check_modules(JSON_C REQUIRED IMPORTED_TARGET json-c)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)
pkg_check_modules(LIBEDIT REQUIRED IMPORTED_TARGET libedit)
pkg_check_modules(LIBUV REQUIRED IMPORTED_TARGET libuv)
pkg_check_modules(PROTOBUF_C REQUIRED IMPORTED_TARGET libprotobuf-c)
find_program(PROTOC_C protoc-c REQUIRED) # proto/ generates its code in the build directory
pkg_check_modules(PCRE2 IMPORTED_TARGET libpcre2-8) # the tests' oracle for the split patterns
pkg_check_modules(CMOCKA IMPORTED_TARGET cmocka)

# Worker groups. Without MPI there is no shoal-worker, and --workers says so.
pkg_check_modules(MPI IMPORTED_TARGET ompi-c)
if(NOT MPI_FOUND)
    message(STATUS "Open MPI is missing: shoal-worker is not built (libopenmpi-dev)")
endif()

# GPUs of one node talk by NCCL. Both are NVIDIA's and used where they are found.
find_path(CUDA_INCLUDE_DIR cuda_runtime.h PATHS /usr/local/cuda/include)
find_library(CUDART_LIBRARY cudart PATHS /usr/local/cuda/lib64 /usr/local/cuda/lib)
find_path(NCCL_INCLUDE_DIR nccl.h PATHS /usr/local/cuda/include)
find_library(NCCL_LIBRARY nccl PATHS /usr/local/cuda/lib64 /usr/local/cuda/lib)
mark_as_advanced(CUDA_INCLUDE_DIR CUDART_LIBRARY NCCL_INCLUDE_DIR NCCL_LIBRARY)
if(CUDA_INCLUDE_DIR AND CUDART_LIBRARY AND NCCL_INCLUDE_DIR AND NCCL_LIBRARY)
    set(NCCL_FOUND TRUE)
    add_library(shoal_nvidia INTERFACE)
    target_include_directories(shoal_nvidia SYSTEM INTERFACE ${CUDA_INCLUDE_DIR} ${NCCL_INCLUDE_DIR})
    target_link_libraries(shoal_nvidia INTERFACE ${NCCL_LIBRARY} ${CUDART_LIBRARY})
else()
    set(NCCL_FOUND FALSE)
    message(STATUS "CUDA or NCCL is missing: collectives between GPUs are not built")
endif()
