# Text files as functions of a .cpp, so that a binary carries them:
#
#   cmake -D OUT=<file.cpp> -D HEADER=<"net/…hpp"> -D NAMESPACE=<a::b> -D FILES=<path>|<path> -P embed.cmake
#
# docs/openapi.yaml becomes `std::string_view openapi_yaml()`.
set(text "// Made by cmake/embed.cmake.\n#include \"${HEADER}\"\n\nnamespace ${NAMESPACE} {\n")
string(REPLACE "|" ";" files "${FILES}")
foreach(file IN LISTS files)
  get_filename_component(name "${file}" NAME)
  string(MAKE_C_IDENTIFIER "${name}" name)
  file(READ "${file}" content)
  if(content MATCHES "\\)embedded\"")
    message(FATAL_ERROR "${file} holds the delimiter of the literal")
  endif()
  # Raw literals may be as long as they like; [ and ; are safe here, since nothing takes the text for a list.
  string(APPEND text "\nstd::string_view ${name}() {\n  return R\"embedded(${content})embedded\";\n}\n")
endforeach()
string(APPEND text "\n}  // namespace ${NAMESPACE}\n")
file(WRITE "${OUT}" "${text}")
