# Language level, warnings, sanitizers and the tools that make builds quick. All of it hangs on `parley_options`, which
# every target of ours links; nothing leaks into imported targets.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bin")
set(CMAKE_LINK_DEPENDS_NO_SHARED ON)

if(NOT CMAKE_BUILD_TYPE)
  message(FATAL_ERROR "no build type: configure with a preset, e.g. cmake --preset release (or ./dev build)")
endif()

add_library(parley_options INTERFACE)
target_include_directories(parley_options INTERFACE "${PROJECT_SOURCE_DIR}")  # "protocol/ids.hpp"
target_compile_options(parley_options INTERFACE
  -Wall -Wextra -Wpedantic -Wnon-virtual-dtor -Wold-style-cast -Woverloaded-virtual
  $<$<BOOL:${PARLEY_WERROR}>:-Werror>
  -fno-omit-frame-pointer  # profiles with whole stacks; costs nothing that we could measure
  # Paths in assertions, logs and debug info are relative to the project, wherever it was built.
  "-ffile-prefix-map=${PROJECT_SOURCE_DIR}/=")
target_link_options(parley_options INTERFACE -Wl,--as-needed)
target_compile_definitions(parley_options INTERFACE
  $<$<BOOL:${PARLEY_PLANTED_DEFECTS}>:PARLEY_PLANTED_DEFECTS=1>)

if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  target_compile_options(parley_options INTERFACE
    # Not all of -Wshadow: types are lower case here, and `room room` inside a class that has a type room is no accident.
    -Wshadow=local
    -Wno-restrict  # false in g++ 12 for std::string operator+ (GCC bug 105651)
    # These follow values through inlined library code and guess. Worth reading, not worth failing a build.
    -Wno-error=maybe-uninitialized -Wno-error=stringop-overflow -Wno-error=stringop-overread
    -Wno-error=array-bounds -Wno-error=free-nonheap-object)
elseif(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  target_compile_options(parley_options INTERFACE -Wno-unknown-warning-option)
endif()

if(PARLEY_SANITIZE)
  target_compile_options(parley_options INTERFACE
    -fsanitize=${PARLEY_SANITIZE} -fno-sanitize-recover=all
    # The instrumented code confuses the analyses behind these.
    -Wno-maybe-uninitialized -Wno-stringop-overflow -Wno-stringop-overread -Wno-array-bounds)
  target_link_options(parley_options INTERFACE -fsanitize=${PARLEY_SANITIZE})
  if(PARLEY_SANITIZE MATCHES "thread")
    target_compile_options(parley_options INTERFACE -Wno-tsan)  # atomic_thread_fence inside Asio
  endif()
endif()

find_program(PARLEY_CCACHE ccache)
if(PARLEY_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # ccache handles precompiled headers only with this sloppiness, and GCC's only with -fpch-preprocess.
  set(CMAKE_CXX_COMPILER_LAUNCHER
    env CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime "${PARLEY_CCACHE}")
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    target_compile_options(parley_options INTERFACE -fpch-preprocess)
  endif()
endif()

find_program(PARLEY_MOLD mold)
if(PARLEY_MOLD)
  target_link_options(parley_options INTERFACE -fuse-ld=mold)
endif()
