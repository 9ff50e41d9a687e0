#include "net/metrics.hpp"
#include "net/routes.hpp"

#include <string>

namespace parley::net {

gateway_loop::response rest_metrics(gateway_loop& g, gateway_loop::request_context& r) {
  http_response out;
  if (metrics_form_of(r.http.header("accept"), r.dialect) == metrics_form::json) {
    out = json_response(200, chatapi_counters(g.shared()));
  } else {
    out.content_type = metrics_content_type;
    out.body = metrics_text(g.shared(), g.options().server_version);
  }
  out.headers.emplace_back("Cache-Control", "no-store");
  out.headers.emplace_back("Vary", "Accept");
  co_return out;
}

}  // namespace parley::net
