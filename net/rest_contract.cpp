#include "net/contract_text.hpp"
#include "net/routes.hpp"

#include <string>

namespace parley::net {

namespace {

http_response yaml(std::string_view text) {
  http_response out;
  out.content_type = "application/yaml";  // RFC 9512
  out.body = text;
  return out;
}

}  // namespace

gateway_loop::response rest_openapi(gateway_loop&, gateway_loop::request_context&) {
  co_return yaml(openapi_yaml());
}
gateway_loop::response rest_asyncapi(gateway_loop&, gateway_loop::request_context&) {
  co_return yaml(asyncapi_yaml());
}

}  // namespace parley::net
