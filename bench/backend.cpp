#include "bench/backend.hpp"

#include "bench/steady_time.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>

namespace parley::bench {
namespace {

using nlohmann::json;

constexpr std::size_t setup_connections =
    16;  // as many rooms in one group commit, without a crowd of threads

std::string excerpt(const std::string& body) { return body.substr(0, 300); }

json parse_answer(const rest_answer& answer, const std::string& what) {
  json parsed = json::parse(answer.body, nullptr, false);
  if (!parsed.is_object()) {
    throw setup_error{what + ": the answer is not a JSON object: " + excerpt(answer.body)};
  }
  return parsed;
}

std::string field(const json& object, const char* name, const std::string& what) {
  const auto found = object.find(name);
  if (found == object.end() || !found->is_string()) {
    throw setup_error{what + ": the answer has no " + name};
  }
  return found->get<std::string>();
}

/// Asks until it is not told to come back later.
rest_answer insist(rest_client& client, std::string_view method, const std::string& path,
                   const std::string& headers, const std::string& body, std::int64_t deadline_ns) {
  for (;;) {
    rest_answer answer = client.request(method, path, headers, body);
    if (answer.status != 429 && answer.status != 503) return answer;
    const auto wait = std::clamp<std::chrono::milliseconds>(
        answer.retry_after.value_or(std::chrono::milliseconds{200}), std::chrono::milliseconds{50},
        std::chrono::seconds{5});
    if (now_ns() + wait.count() * ns_per_ms > deadline_ns) return answer;
    std::this_thread::sleep_for(wait);
  }
}

std::string create_room(rest_client& client, const std::string& headers, const room_order& order,
                        std::int64_t deadline_ns) {
  const auto piece = [&](std::size_t from) {
    const auto begin = order.members.begin() + static_cast<std::ptrdiff_t>(from);
    const auto size = std::min(members_max_per_call, order.members.size() - from);
    return json(std::vector<std::string>(begin, begin + static_cast<std::ptrdiff_t>(size)));
  };
  const std::string what = "POST /v1/rooms";
  const rest_answer answer =
      insist(client, "POST", "/v1/rooms", headers,
             json{{"type", "group"}, {"members", piece(0)}}.dump(), deadline_ns);
  if (answer.status != 201) {
    throw setup_error{what + ": status " + std::to_string(answer.status) + ": " +
                      excerpt(answer.body)};
  }
  const std::string id = field(parse_answer(answer, what), "room_id", what);
  for (std::size_t from = members_max_per_call; from < order.members.size();
       from += members_max_per_call) {
    const std::string path = "/v1/rooms/" + id + "/members";
    const rest_answer added =
        insist(client, "POST", path, headers, json{{"user_ids", piece(from)}}.dump(), deadline_ns);
    if (added.status != 200) {
      throw setup_error{"POST " + path + ": status " + std::to_string(added.status) + ": " +
                        excerpt(added.body)};
    }
  }
  return id;
}

}  // namespace

tenant_access create_tenant(const target_url& target, const std::string& master_key,
                            const std::string& config_json) {
  rest_client client{target};
  json body{{"name", "parley-bench"}};
  if (!config_json.empty()) body["config"] = json::parse(config_json);
  const std::string what = "POST /v1/admin/tenants";
  const rest_answer answer = client.request("POST", "/v1/admin/tenants",
                                            "X-Master-Key: " + master_key + "\r\n", body.dump());
  if (answer.status != 201) {
    throw setup_error{what + ": status " + std::to_string(answer.status) + ": " +
                      excerpt(answer.body)};
  }
  const json tenant = parse_answer(answer, what);
  return {field(tenant, "tenant_id", what), field(tenant, "api_key", what)};
}

void configure_tenant(const target_url& target, const std::string& master_key,
                      const std::string& tenant_id, const std::string& config_json) {
  rest_client client{target};
  const json body{{"config", json::parse(config_json)}};
  const rest_answer answer = client.request("PATCH", "/v1/admin/tenants/" + tenant_id,
                                            "X-Master-Key: " + master_key + "\r\n", body.dump());
  if (answer.status != 200) {
    throw setup_error{"PATCH /v1/admin/tenants: status " + std::to_string(answer.status) + ": " +
                      excerpt(answer.body)};
  }
}

std::uint64_t queued_events(const target_url& target, const std::string& master_key,
                            const std::string& tenant_id) {
  rest_client client{target};
  const std::string what = "GET /v1/admin/tenants/{id}/webhook";
  const rest_answer answer = client.request("GET", "/v1/admin/tenants/" + tenant_id + "/webhook",
                                            "X-Master-Key: " + master_key + "\r\n", "");
  if (answer.status != 200) {
    throw setup_error{what + ": status " + std::to_string(answer.status) + ": " +
                      excerpt(answer.body)};
  }
  return parse_answer(answer, what).value("queued", std::uint64_t{0});
}

bool delete_tenant(const target_url& target, const std::string& master_key,
                   const std::string& tenant_id) {
  rest_client client{target};
  const rest_answer answer = client.request("DELETE", "/v1/admin/tenants/" + tenant_id,
                                            "X-Master-Key: " + master_key + "\r\n", "");
  return answer.status >= 200 && answer.status < 300;
}

std::vector<std::string> create_rooms(const target_url& target, const std::string& api_key,
                                      const std::vector<room_order>& orders, double deadline_s,
                                      const std::function<bool()>& is_stopped) {
  const std::int64_t deadline_ns = now_ns() + ns_of(deadline_s);
  const std::string headers = "X-API-Key: " + api_key + "\r\n";
  std::vector<std::string> ids(orders.size());
  std::atomic<std::size_t> next{0};
  std::mutex failure_mutex;
  std::string failure;
  std::atomic<bool> has_failed{false};

  const auto fail = [&](const std::string& why) {
    const std::lock_guard lock{failure_mutex};
    if (!has_failed.exchange(true)) failure = why;
  };
  const auto work = [&] {
    try {
      rest_client client{target};
      for (std::size_t i = next++; i < orders.size() && !has_failed; i = next++) {
        if (is_stopped()) return fail("interrupted");
        if (now_ns() > deadline_ns) {
          return fail("only " + std::to_string(i) + " of " + std::to_string(orders.size()) +
                      " rooms made in time");
        }
        ids[i] = create_room(client, headers, orders[i], deadline_ns);
      }
    } catch (const std::exception& error) {
      fail(error.what());
    }
  };
  std::vector<std::jthread> threads;
  for (std::size_t i = 0; i < std::min(setup_connections, orders.size()); ++i) {
    threads.emplace_back(work);
  }
  threads.clear();  // joins
  if (has_failed) throw setup_error{failure};
  return ids;
}

}  // namespace parley::bench
