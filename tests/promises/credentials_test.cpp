// Who may come in, with what, and how it ends: on the running node, by every form that SPEC 3 names.

#include "tests/promises/stage.hpp"
#include "tests/support/await.hpp"
#include "tests/support/jwt.hpp"

#include <doctest/doctest.h>

#include <array>
#include <chrono>
#include <ctime>
#include <string>
#include <thread>
#include <vector>

using namespace parley::tests;
using namespace std::chrono_literals;

namespace {

std::string token(const stage& s, std::string_view user, std::chrono::seconds ttl = 1h,
                  const json& more = json::object()) {
  return user_token(s.tenant.tenant_id, s.tenant.jwt_secret, user, ttl, more);
}
rest_client bearer(const stage& s, const std::string& jwt) {
  return s.node.rest().with("Authorization", "Bearer " + jwt);
}
ws_client socket(const stage& s, ws_options options) { return {s.node.address(), options}; }
/// The status of a refused upgrade; 101 when it was not refused.
int upgrade_status(const stage& s, const ws_options& options) {
  try {
    const ws_client c{s.node.address(), options};
    return 101;
  } catch (const upgrade_refused& e) {
    return e.reply.status;
  }
}
std::string admin(const stage& s, std::string_view rest = {}) {
  return "/v1/admin/tenants/" + s.tenant.tenant_id + std::string{rest};
}
std::string ticket(rest_client as) {
  const auto reply = as.post("/v1/ws/token", json::object());
  REQUIRE(reply.status == 200);
  CHECK(reply.json()["expires_in"] == 60);
  return reply.json()["token"];
}
std::string rfc3339(std::chrono::system_clock::time_point t) {
  const auto seconds = std::chrono::system_clock::to_time_t(t);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  std::array<char, 32> text{};
  const auto length = std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return {text.data(), length};
}
/// The key id of the tenant's only credential of a kind.
std::string key_of(const stage& s, std::string_view kind) {
  std::string found;
  const auto tenant = s.node.operator_client().get(admin(s)).json();
  for (const auto& key : tenant["keys"]) {
    if (key["kind"] == kind) found = key["key_id"];
  }
  return found;
}

}  // namespace

TEST_SUITE("SPEC 3 who is calling, on the running node") {
  TEST_CASE("a token is its user: on REST, and by each way into a socket") {
    for (const int threads : {1, 3}) {
      CAPTURE(threads);
      stage s{with_io_threads(threads)};
      const auto jwt = token(s, "ann");
      auto ann = bearer(s, jwt);
      // The caller is implied in the members of a new room, and owns it.
      const auto made = ann.post("/v1/rooms", {{"type", "group"}, {"members", {"bob"}}});
      REQUIRE(made.status == 201);
      CHECK(made.json()["member_count"] == 2);
      CHECK(made.json()["role"] == "owner");
      const std::string room = made.json()["room_id"];
      CHECK(ann.post("/v1/rooms/" + room + "/messages", {{"content", "hi"}}).status == 201);
      CHECK(ann.post("/v1/rooms/" + room + "/messages", {{"content", "x"}, {"sender_id", "bob"}}).status ==
            403);
      CHECK(bearer(s, token(s, "cyd")).get("/v1/rooms/" + room).status == 404);

      auto by_header = socket(s, {.headers = {{"Authorization", "Bearer " + jwt}}});
      const auto hello = by_header.receive_type("hello");
      CHECK(hello["user_id"] == "ann");
      CHECK(hello["expires_at"].is_string());
      auto by_protocol = socket(s, {.protocols = "parley.v1, bearer." + base64url(jwt)});
      CHECK(by_protocol.receive_type("hello")["user_id"] == "ann");
      CHECK(by_protocol.upgrade_reply().header("sec-websocket-protocol") == "parley.v1");
      auto by_frame = socket(s, {});
      const auto answer = by_frame.call({{"type", "auth"}, {"token", jwt}});
      CHECK(answer["type"] == "hello");
      CHECK(answer["user_id"] == "ann");
      CHECK(by_frame.receive_type("sync.done")["rooms"] == 1);
      CHECK(by_frame.call({{"type", "auth"}, {"token", jwt}})["code"] == "CONFLICT");
      // The backend's own form of a user's ticket, and a user's.
      auto by_ticket = socket(s, {.query = "token=" + ticket(s.user("ann"))});
      CHECK(!by_ticket.receive_type("hello").contains("expires_at"));
      auto by_users_ticket = socket(s, {.query = "token=" + ticket(bearer(s, jwt))});
      CHECK(by_users_ticket.receive_type("hello")["expires_at"].is_string());
    }
  }

  TEST_CASE("what is no credential is refused in one way, wherever it comes") {
    stage s;
    const auto other = s.node.create_tenant("other");
    const auto good = token(s, "ann");
    const auto now = std::chrono::duration_cast<std::chrono::seconds>(
                         std::chrono::system_clock::now().time_since_epoch())
                         .count();
    const json claims{{"tid", s.tenant.tenant_id}, {"sub", "ann"}, {"exp", now + 600}};
    struct row {
      const char* what;
      std::string jwt;
    };
    const std::vector<row> rows{
        {"another secret", user_token(s.tenant.tenant_id, other.jwt_secret, "ann")},
        {"another tenant's name", user_token(other.tenant_id, s.tenant.jwt_secret, "ann")},
        {"an unknown tenant", user_token("tenant_0123456789abcdef", s.tenant.jwt_secret, "ann")},
        {"lapsed", token(s, "ann", -60s)},
        {"not yet", token(s, "ann", 1h, {{"nbf", now + 600}})},
        {"made in the future", token(s, "ann", 1h, {{"iat", now + 600}})},
        {"alg none", base64url(R"({"alg":"none"})") + "." + base64url(claims.dump()) + "."},
        {"crit", sign_hs256({{"alg", "HS256"}, {"crit", {"x"}}}, claims, s.tenant.jwt_secret)},
        {"kid of another tenant",
         sign_hs256({{"alg", "HS256"}, {"kid", other.tenant_id}}, claims, s.tenant.jwt_secret)},
        {"no subject",
         sign_hs256({{"alg", "HS256"}}, {{"tid", s.tenant.tenant_id}, {"exp", now + 600}},
                    s.tenant.jwt_secret)},
        {"no expiry", sign_hs256({{"alg", "HS256"}}, {{"tid", s.tenant.tenant_id}, {"sub", "ann"}},
                                 s.tenant.jwt_secret)},
        {"subject out of form", token(s, " ann")},
        {"signature cut", good.substr(0, good.size() - 1)},
        {"not a token", "a.b.c"},
    };
    std::string same;
    for (const auto& r : rows) {
      CAPTURE(r.what);
      auto client = bearer(s, r.jwt).with("X-Request-Id", "same").with("X-Forwarded-For", "1.2.3.4");
      const auto reply = client.get("/v1/rooms");
      CHECK(reply.status == 401);
      CHECK(reply.error_code() == "AUTHENTICATION_ERROR");
      if (same.empty()) same = reply.body;
      CHECK(reply.body == same);
    }
    CHECK(s.node.rest().get("/v1/rooms?token=" + good).status == 401);
    CHECK(upgrade_status(s, {.query = "token=" + good}) == 401);
    CHECK(upgrade_status(s, {.query = "token=wst_unknown"}) == 401);
    CHECK(upgrade_status(s, {.query = "api_key=" + s.tenant.api_key + "&user_id=ann"}) == 401);
  }

  TEST_CASE("a first frame that is not a good token ends the connection with 4501") {
    stage s;
    for (const json& frame :
         {json{{"type", "auth"}, {"token", "a.b.c"}}, json{{"type", "auth"}, {"token", "wst_no"}},
          json{{"type", "auth"}, {"token", s.tenant.api_key}}, json{{"type", "ping"}},
          json{{"type", "auth.refresh"}, {"token", token(s, "ann")}}}) {
      CAPTURE(frame.dump());
      auto c = socket(s, {});
      const auto refused = c.call(frame);
      CHECK(refused["type"] == "error");
      CHECK(refused["code"] == "AUTHENTICATION_ERROR");
      CHECK(c.await_close().code == 4501);
    }
  }

  TEST_CASE("a ticket lets in once, even when two bring it at the same time") {
    stage s;
    for (int round = 0; round < 20; ++round) {
      const auto wst = ticket(s.user("ann"));
      std::array<int, 2> status{};
      std::vector<std::thread> both;
      for (auto& one : status) {
        both.emplace_back([&one, &s, &wst] { one = upgrade_status(s, {.query = "token=" + wst}); });
      }
      for (auto& t : both) t.join();
      CHECK(status[0] + status[1] == 101 + 401);
    }
  }

  TEST_CASE("a credential that lapses: a notice, a refresh, or 4401") {
    stage s;
    // 61 s to live: the notice comes after a second.
    auto ann = socket(s, {.headers = {{"Authorization", "Bearer " + token(s, "ann", 61s)}}});
    const auto notice = ann.receive_type("auth.expiring");
    CHECK(notice["in_ms"].get<int>() <= 60'000);
    CHECK(notice["in_ms"].get<int>() > 50'000);
    CHECK(ann.call({{"type", "auth.refresh"}, {"token", token(s, "bob")}})["code"] ==
          "AUTHENTICATION_ERROR");
    CHECK(ann.call({{"type", "auth.refresh"}, {"token", "a.b.c"}})["code"] ==
          "AUTHENTICATION_ERROR");
    const auto refreshed = ann.call({{"type", "auth.refresh"}, {"token", token(s, "ann")}});
    CHECK(refreshed["type"] == "auth.refreshed");
    CHECK(refreshed["expires_at"].is_string());
    CHECK(ann.call({{"type", "ping"}})["type"] == "pong");
    // Lapsed already, within the leeway of 30 s: what is left of it, then 4401.
    auto late = socket(s, {.headers = {{"Authorization", "Bearer " + token(s, "bob", -27s)}}});
    CHECK(late.receive_type("auth.expiring")["in_ms"] == 0);
    CHECK(late.await_close(15s).code == 4401);
  }

  TEST_CASE(
      "keys rotate: two work, a third is refused, the deleted one's sockets end within a second") {
    for (const int threads : {1, 3}) {
      CAPTURE(threads);
      stage s{with_io_threads(threads)};
      auto op = s.node.operator_client();
      const auto old_key = key_of(s, "api_key");
      auto by_old = s.online("ann");
      const auto added = op.post(admin(s, "/keys"), {{"kind", "api_key"}});
      REQUIRE(added.status == 201);
      CHECK(added.json()["kind"] == "api_key");
      const std::string secret = added.json()["secret"];
      CHECK(secret.starts_with("sk_"));
      auto renewed = s.tenant;
      renewed.api_key = secret;
      auto by_new = s.node.connect(renewed, "ann");
      by_new.receive_type("sync.done");
      CHECK(op.post(admin(s, "/keys"), {{"kind", "api_key"}}).status == 409);
      CHECK(op.post(admin(s, "/keys"), {{"kind", "other"}}).json()["error"]["field"] == "kind");

      CHECK(op.del(admin(s, "/keys/" + old_key)).status == 204);
      const auto from = std::chrono::steady_clock::now();
      CHECK(by_old.await_close(5s).code == 4503);
      CHECK(std::chrono::steady_clock::now() - from < 1s);
      CHECK(s.backend().get("/v1/rooms").status == 401);
      CHECK(s.node.backend(renewed).get("/v1/rooms").status == 200);
      CHECK(by_new.call({{"type", "ping"}})["type"] == "pong");
      CHECK(op.del(admin(s, "/keys/" + old_key)).status == 404);
      // Also after a restart.
      auto& node = s.node;
      node.restart();
      CHECK(s.backend().get("/v1/rooms").status == 401);
      CHECK(s.node.backend(renewed).get("/v1/rooms").status == 200);
    }
  }

  TEST_CASE("a JWT secret rotates, and what its tokens opened ends with it") {
    stage s;
    auto op = s.node.operator_client();
    const auto old_key = key_of(s, "jwt_secret");
    auto ann = socket(s, {.headers = {{"Authorization", "Bearer " + token(s, "ann")}}});
    ann.receive_type("sync.done");
    // A ticket inherits what it was made with.
    const auto wst = ticket(bearer(s, token(s, "ann")));
    const auto added = op.post(admin(s, "/keys"), {{"kind", "jwt_secret"}}).json();
    const std::string renewed =
        user_token(s.tenant.tenant_id, added["secret"].get<std::string>(), "ann");
    CHECK(bearer(s, renewed).get("/v1/rooms").status == 200);
    CHECK(op.del(admin(s, "/keys/" + old_key)).status == 204);
    CHECK(ann.await_close(5s).code == 4503);
    CHECK(bearer(s, token(s, "ann")).get("/v1/rooms").status == 401);
    CHECK(upgrade_status(s, {.query = "token=" + wst}) == 401);
    CHECK(bearer(s, renewed).get("/v1/rooms").status == 200);
  }

  TEST_CASE("a user is thrown out, and what was issued before stays out") {
    for (const int threads : {1, 3}) {
      CAPTURE(threads);
      stage s{with_io_threads(threads)};
      const auto old_token = token(s, "ann", 1h, {{"iat", 1'700'000'000}});
      std::vector<ws_client> devices;
      for (int i = 0; i < 3; ++i) {
        devices.push_back(socket(s, {.headers = {{"Authorization", "Bearer " + old_token}}}));
        devices.back().receive_type("sync.done");
      }
      auto bob = s.online("bob");
      auto backend = s.backend();
      CHECK(s.user("ann").post("/v1/users/ann/disconnect", json::object()).status == 403);
      const auto kicked = backend.post("/v1/users/ann/disconnect", json::object());
      CHECK(kicked.status == 200);
      CHECK(kicked.json()["closed"] == 3);
      for (auto& d : devices) CHECK(d.await_close(5s).code == 4503);
      // Without revoke_before it may come again.
      CHECK(bearer(s, old_token).get("/v1/rooms").status == 200);
      const auto revoked =
          backend.post("/v1/users/ann/disconnect", {{"revoke_before", "2024-01-01T00:00:00Z"}});
      CHECK(revoked.json()["closed"] == 0);
      CHECK(bearer(s, old_token).get("/v1/rooms").status == 401);
      CHECK(upgrade_status(s, {.headers = {{"Authorization", "Bearer " + old_token}}}) == 401);
      CHECK(bearer(s, token(s, "ann")).get("/v1/rooms").status == 200);
      CHECK(bob.call({{"type", "ping"}})["type"] == "pong");
      // A ticket of before is void, whoever asked for it; one of now is good.
      const auto wst = ticket(s.user("bob"));
      const auto soon = std::chrono::system_clock::now() + 1s;
      CHECK(backend.post("/v1/users/bob/disconnect", {{"revoke_before", rfc3339(soon)}}).status ==
            200);
      CHECK(bob.await_close(5s).code == 4503);
      CHECK(upgrade_status(s, {.query = "token=" + wst}) == 401);
      REQUIRE(await(5s, [&] { return std::chrono::system_clock::now() > soon; }));
      CHECK(upgrade_status(s, {.query = "token=" + ticket(s.user("bob"))}) == 101);
      CHECK(backend.post("/v1/users/ann/disconnect", {{"revoke_before", "2999-01-01T00:00:00Z"}})
                .json()["error"]["field"] == "revoke_before");
      CHECK(backend.post("/v1/users/ann/disconnect", {{"revoke_before", "yesterday"}})
                .json()["error"]["field"] == "revoke_before");
      auto& node = s.node;
      node.restart();
      CHECK(bearer(s, old_token).get("/v1/rooms").status == 401);
      CHECK(bearer(s, token(s, "ann")).get("/v1/rooms").status == 200);
    }
  }

  TEST_CASE("a tenant that is disabled or deleted ends with 4506, and is like none") {
    stage s;
    auto op = s.node.operator_client();
    auto ann = s.online("ann");
    CHECK(op.patch(admin(s), {{"disabled", true}}).json()["disabled"] == true);
    CHECK(ann.await_close(5s).code == 4506);
    CHECK(s.backend().get("/v1/rooms").status == 401);
    CHECK(bearer(s, token(s, "ann")).get("/v1/rooms").status == 401);
    CHECK(op.patch(admin(s), {{"disabled", false}}).status == 200);
    CHECK(s.backend().get("/v1/rooms").status == 200);
    CHECK(op.patch(admin(s), json::object()).status == 400);
    CHECK(op.patch(admin(s), {{"config", {{"unknown", 1}}}}).status == 400);
    auto again = s.online("ann");
    const auto gone = op.del(admin(s));
    CHECK(gone.status == 202);
    CHECK(gone.json()["job_id"].is_string());
    CHECK(again.await_close(5s).code == 4506);
    CHECK(s.backend().get("/v1/rooms").status == 401);
    CHECK(op.get(admin(s)).status == 404);
    CHECK(op.del(admin(s)).status == 404);
  }

  TEST_CASE("origins: the node's, any tenant's before it is known, the tenant's own after") {
    stage s{{.config = {{"ws_allowed_origins", "https://node.example"}}}};
    const auto listed =
        s.node.create_tenant("listed", {{"allowed_origins", {"https://app.example"}}});
    const auto with = [&](const test_tenant& tenant, std::string_view origin) {
      return ws_options{.headers = {{"X-API-Key", tenant.api_key},
                                    {"X-User-Id", "ann"},
                                    {"Origin", std::string{origin}}}};
    };
    CHECK(upgrade_status(s, with(s.tenant, "https://node.example")) == 101);
    CHECK(upgrade_status(s, with(s.tenant, "https://evil.example")) == 403);
    CHECK(upgrade_status(s, with(s.tenant, "https://app.example")) == 403);
    CHECK(upgrade_status(s, with(listed, "https://app.example")) == 101);
    CHECK(upgrade_status(s, with(listed, "https://node.example")) == 403);
    CHECK(upgrade_status(s, with(listed, "http://" + s.node.address())) == 101);
    // Nobody known yet: some tenant lists it; once it is another's token, 4501.
    auto c = socket(s, {.headers = {{"Origin", "https://app.example"}}});
    c.send_json({{"type", "auth"}, {"token", token(s, "ann")}});
    CHECK(c.await_close().code == 4501);
    CHECK(upgrade_status(s, {.headers = {{"Origin", "https://evil.example"}}}) == 403);
    // REST has the same lists.
    const auto asks = s.node.rest().request(
        "OPTIONS", "/v1/rooms",
        {{"Origin", "https://app.example"}, {"Access-Control-Request-Method", "POST"}});
    CHECK(asks.status == 204);
    CHECK(asks.header("access-control-allow-origin") == "https://app.example");
    const auto answer =
        s.node.backend(listed).get("/v1/rooms", {{"Origin", "https://app.example"}});
    CHECK(answer.header("access-control-allow-origin") == "https://app.example");
    CHECK(!s.node.backend(listed)
               .get("/v1/rooms", {{"Origin", "https://node.example"}})
               .header("access-control-allow-origin"));
  }
}
