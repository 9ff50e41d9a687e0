// gateway_loop's counting, and its own listener for the operator.

#include "net/gateway_loop.hpp"
#include "net/routes.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

namespace parley::net {

namespace asio = boost::asio;

boost::system::error_code gateway_loop::listen_admin(const asio::ip::tcp::endpoint& where) {
  http_options http = options_.http;
  http.max_connections = limits::admin_connections_max;
  http.body_total_bytes = limits::admin_body_total_bytes;
  http.body_bytes = nullptr;
  admin_http_ = std::make_unique<http_server>(
      io_, http, shared_.now, shared_.random,
      [this](http_request r) { return serve(std::move(r), listener::admin); });
  counters_.admin_http = &admin_http_->counters();
  return admin_http_->listen(where);
}

bool gateway_loop::serves(const route& path, const http_request& request, listener from) const {
  if (from == listener::admin) {
    return path.who == who_may::operator_only ||
           (path.who == who_may::anyone && path.handler != rest_ws);
  }
  if (!path.for_scrapers) return true;
  // What a proxy passes on is not from the address it comes from.
  for (const auto* passed_on : {"forwarded", "x-forwarded-for", "x-real-ip", "via"}) {
    if (request.header_count(passed_on) != 0) return false;
  }
  return std::ranges::any_of(options_.metrics_allow, [&](const address_range& range) {
    return range.contains(request.peer);
  });
}

gateway_loop::response gateway_loop::serve(http_request request, listener from) {
  const auto began = shared_.now.mono();
  const route* matched = nullptr;
  actors::tenant_snapshot_ptr tenant;
  http_request caller;  // what of it is needed when it is answered
  caller.method = request.method;
  caller.peer = request.peer;
  caller.request_id = request.request_id;
  if (request.header_count("origin") != 0) caller.headers = request.headers;
  auto handled = handle(std::move(request), from, matched, tenant);
  try {
    auto response = co_await std::move(handled);
    if (response.failure == error_code::authentication) {
      if (const auto refused = count_failure(caller))
        response = error_response(*refused, caller.request_id);
    }
    if (!caller.headers.empty() && !is_preflight(caller)) {
      const bool allowed =
          tenant
              ? origin_may_ask(caller, options_.ws_allowed_origins, tenant->config.allowed_origins)
              : origin_may_ask(caller, options_.ws_allowed_origins, shared_.origins);
      for (auto& h : cors_headers(caller, allowed)) response.headers.push_back(std::move(h));
    }
    count_answer(matched, response, began);
    co_return response;
  } catch (...) {
    http_response failed;  // as http_server will answer it
    failed.status = info(error_code::internal).http_status;
    failed.failure = error_code::internal;
    count_answer(matched, failed, began);
    throw;
  }
}

void gateway_loop::count_answer(const route* matched, const http_response& response, mono_time began) {
  const auto at =
      matched == nullptr ? routes().size() : static_cast<std::size_t>(matched - routes().data());
  const int status = response.upgraded ? 101 : response.status;
  auto& counts = counters_.by_route[at];
  ++counts.by_class[static_cast<std::size_t>(status / 100 - 1)];
  counts.took.observe(
      static_cast<std::uint64_t>(std::chrono::nanoseconds{shared_.now.mono() - began}.count()));
  if (matched != nullptr && matched->handler == rest_ws)
    ++counters_.upgrades[static_cast<std::size_t>(upgrade_outcome_of(status))];
  if (!response.failure) return;
  const auto code = static_cast<std::size_t>(*response.failure);
  ++counters_.http_errors[code];
  if (response.is_refused_send) ++counters_.refused_sends[code];
  if (const auto limit = refusal_named(response.limit)) counters_.refuse(*limit);
}

void gateway_loop::count_refusal(const error& why) {
  if (why.stored != stored_state::not_a_send)
    ++counters_.refused_sends[static_cast<std::size_t>(why.code)];
  if (const auto limit = refusal_named(why.limit)) counters_.refuse(*limit);
}

void gateway_loop::count_outcome(const actors::tenant_snapshot* tenant,
                                 const actors::room_outcome& outcome, bool is_message) {
  const auto* sent = std::get_if<actors::send_result>(&outcome);
  if (sent == nullptr) return;  // a refusal is counted where it is answered
  if (sent->accepted.duplicate) {
    ++counters_.duplicates;
  } else if (!is_message) {
    ++counters_.changes;
  } else {
    shared_.messages_accepted.fetch_add(1, std::memory_order_relaxed);
    if (tenant != nullptr && tenant->meters)
      tenant->meters->messages.fetch_add(1, std::memory_order_relaxed);
  }
}

void gateway_loop::show_counters() {
  auto& c = counters_;
  c.ws_outbound_bytes = hub_.outbound_bytes_total();
  c.subscriptions_live = subscriptions_.size();
  c.rooms_followed = subscriptions_.rooms();
  c.ring_bytes = subscriptions_.ring_bytes();
  c.receipts_waiting = ephemerals_.receipts_waiting();
  c.calls_waiting = calls_.size() + ws_calls_.size();
  c.late_answers = late_answers_ + calls_.late();
  c.http_open = http_.counters().open + (admin_http_ ? admin_http_->counters().open.value() : 0);
  const auto& d = subscriptions_.counters();
  c.entries_from_ring = d.frames_from_ring;
  c.entries_from_pages = d.frames_from_pages;
  c.pages = d.pages;
  c.stale_pages = d.stale_pages;
  c.list_rereads = d.list_overflows;
  c.postponed_reads = d.reads_refused;
  for (std::size_t at = 0; at < sync_outcomes; ++at) c.synced[at] = d.outcomes[at];
  const auto& e = ephemerals_.counters();
  c.ephemerals_sent = e.sent;
  c.ephemerals_behind = e.dropped_behind;
  c.ephemerals_full = e.dropped_full;
  c.ephemerals_budget = e.dropped_budget;
  const auto& n = notifications_.counters();
  c.notifications_sent = n.sent;
  c.notifications_again = n.sent_again;
  c.notification_connections = notifications_.size();
  c.notification_pages = n.pages;
  c.notification_room_pages = n.room_pages;
  c.notification_overflows = n.overflows;
}

}  // namespace parley::net
