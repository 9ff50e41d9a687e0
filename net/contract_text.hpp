#pragma once
/// The contract as this binary speaks it: docs/openapi.yaml and docs/asyncapi.yaml, byte for byte (cmake/embed.cmake).

#include <string_view>

namespace parley::net {

[[nodiscard]] std::string_view openapi_yaml();
[[nodiscard]] std::string_view asyncapi_yaml();

}  // namespace parley::net
