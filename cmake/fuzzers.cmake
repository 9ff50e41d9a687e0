# tests/fuzz/<name>.cpp, which defines LLVMFuzzerTestOneInput, becomes fuzz_<name>. It links protocol, where the parsers
# are, and net only if it includes something of it. Seeds: tests/fuzz/corpus/<name>/*.

add_custom_target(fuzzers)
file(GLOB fuzzers CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/tests/fuzz/*.cpp")
foreach(source IN LISTS fuzzers)
  get_filename_component(name "${source}" NAME_WE)
  set(links parley_protocol)
  file(STRINGS "${source}" net_includes REGEX "#include \"net/")
  if(net_includes)
    set(links parley_net)
  endif()
  add_executable(fuzz_${name} EXCLUDE_FROM_ALL "${source}")
  target_link_libraries(fuzz_${name} PRIVATE parley_options ${links})
  target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer,address,undefined)
  add_dependencies(fuzzers fuzz_${name})
endforeach()
