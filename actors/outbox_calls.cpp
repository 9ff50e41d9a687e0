// What operators ask of the outbox: one event now, past the queue.

#include "actors/outbox.hpp"
#include "actors/outbox_paces.hpp"

#include <algorithm>
#include <utility>

namespace parley::actors {
namespace {

error conflict(std::string field, std::string message) {
  error e{error_code::conflict, std::move(message)};
  e.field = std::move(field);
  return e;
}

}  // namespace

/// Everything is read anew: who asks may just have changed it.
void outbox::on(const webhook_call& m) {
  const auto no = ++last_no_;
  calls_.emplace(no, operator_call{m, {}, {}, mono() + options_.call_deadline});
  if (calls_.size() > bounds_.calls) {
    finish(no, unavailable("too many of these are under way", std::chrono::seconds{1}));
    return;
  }
  endpoints_query q;
  q.tenant = m.tenant;
  if (!read({.kind = read_kind::call_endpoint, .tenant = m.tenant, .ref = no}, m.tenant, std::move(q)))
    finish(no, unavailable("the readers are busy", std::chrono::seconds{1}));
  pump();
}

void outbox::on_call_endpoint(std::uint64_t no, const read_result& answer) {
  const auto it = calls_.find(no);
  if (it == calls_.end()) return;
  if (const auto* failure = std::get_if<error>(&answer)) return finish(no, *failure);
  const auto& found = std::get<store::endpoint_list>(answer).endpoints;
  if (found.empty()) return finish(no, conflict("webhook_url", "the tenant has none"));
  it->second.row = found.front();
  const auto tenant = it->second.asked.tenant;
  if (!read({.kind = read_kind::call_tenant, .tenant = tenant, .ref = no}, tenant,
            tenant_query{it->second.asked.id}))
    finish(no, unavailable("the readers are busy", std::chrono::seconds{1}));
}

void outbox::on_call_tenant(std::uint64_t no, const read_result& answer) {
  const auto it = calls_.find(no);
  if (it == calls_.end()) return;
  auto& call = it->second;
  if (const auto* failure = std::get_if<error>(&answer)) return finish(no, *failure);
  const auto& tenant = std::get<std::optional<store::tenant_row>>(answer);
  if (!tenant) return finish(no, not_found("tenant"));
  std::vector<std::string> secrets;
  const auto state = open_secrets(*tenant, secrets);
  if (state == tenant_state::disabled)
    return finish(no, conflict("disabled", "the tenant is disabled"));
  if (state == tenant_state::no_secret)
    return finish(no, conflict("webhook_secret", "the tenant has none that can be used"));

  call.event_id = "evt_" + make_hex(16, random_);
  webhook_event event;
  event.type = event_type::webhook_test;
  event.tenant = call.row.id;
  event.at = clock_.now();
  event.data = R"({"message":"a test of this endpoint"})";
  auto body = webhook_body(event, call.row.format);
  auto request = signed_request(call.row, secrets, call.event_id, body.head + body.tail);
  const auto number = ++last_no_;
  attempt a;
  a.tenant = call.row.tenant;
  a.call = no;
  a.began = mono();
  attempts_.emplace(number, a);
  ++counters_.in_flight;
  ++counters_.attempts;
  ports_.post(number, std::move(request));
}

void outbox::on_call_answered(const attempt& a, const webhook_answer& answer,
                              mono_time::duration took) {
  if (!answer.ok()) ++counters_.failures;
  const auto it = calls_.find(a.call);
  if (it == calls_.end()) {
    ++counters_.late_answers;
    return;
  }
  webhook_report report;
  report.url = it->second.row.url;
  report.event_id = it->second.event_id;
  report.status = answer.status;
  report.failure = failure_text(answer);
  report.took = std::chrono::duration_cast<std::chrono::milliseconds>(took);
  finish(a.call, std::move(report));
}

void outbox::finish(std::uint64_t no, std::variant<error, webhook_report> outcome) {
  const auto it = calls_.find(no);
  const auto to = it->second.asked.to;
  calls_.erase(it);
  ports_.answer(to.gateway,
                std::make_shared<const webhook_called>(webhook_called{to.call, std::move(outcome)}));
}

/// An attempt that is under way goes on, for nobody: all of the client's deadlines together may be far longer.
void outbox::sweep_calls(mono_time now) {
  while (!calls_.empty() && calls_.begin()->second.until <= now) {
    const auto& [no, call] = *calls_.begin();
    const auto sent = std::ranges::find_if(
        attempts_, [no = no](const auto& one) { return one.second.call == no; });
    if (sent == attempts_.end()) {
      finish(no, unavailable("the store did not answer in time", std::chrono::seconds{1}));
      continue;
    }
    webhook_report report;
    report.url = call.row.url;
    report.event_id = call.event_id;
    report.failure = "answer timeout";
    report.took = std::chrono::duration_cast<std::chrono::milliseconds>(now - sent->second.began);
    finish(no, std::move(report));
  }
}

}  // namespace parley::actors
