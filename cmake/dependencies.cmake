# Everything comes from the distribution (Debian 12); `./dev deps` installs it. All are imported targets, whose headers
# count as system headers: our warnings do not apply to them.

find_package(Threads REQUIRED)
find_package(CAF 0.17 REQUIRED)  # FindCAF.cmake
find_package(Boost 1.81 REQUIRED COMPONENTS url)
find_package(OpenSSL 3 REQUIRED)
find_package(SQLite3 3.40 REQUIRED)
find_package(simdjson REQUIRED)
find_package(nlohmann_json 3.11 REQUIRED)
find_package(CLI11 REQUIRED)
find_package(tomlplusplus REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)

# Only its data model and the text format. Its own CMake package also asks for civetweb and curl, of the parts that we
# don't use.
find_library(PROMETHEUS_CORE_LIBRARY prometheus-cpp-core REQUIRED)
find_path(PROMETHEUS_INCLUDE_DIR prometheus/text_serializer.h REQUIRED)
add_library(prometheus_core UNKNOWN IMPORTED)
set_target_properties(prometheus_core PROPERTIES
  IMPORTED_LOCATION "${PROMETHEUS_CORE_LIBRARY}"
  INTERFACE_INCLUDE_DIRECTORIES "${PROMETHEUS_INCLUDE_DIR}"
  INTERFACE_SYSTEM_INCLUDE_DIRECTORIES "${PROMETHEUS_INCLUDE_DIR}")

if(PARLEY_TESTS)
  find_package(doctest REQUIRED)
endif()

# Asio compiles as headers; the thread-safe default is what several io contexts need.
add_library(parley_boost INTERFACE)
target_link_libraries(parley_boost INTERFACE Boost::headers Threads::Threads)
target_compile_definitions(parley_boost INTERFACE BOOST_ASIO_NO_DEPRECATED BOOST_ASIO_DISABLE_BOOST_COROUTINE)
